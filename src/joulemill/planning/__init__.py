"""What to run where under power, cooling, carbon and latency: a linear program and the prices of its limits. Pure."""
