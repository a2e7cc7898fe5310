"""The laws of physics/: each over thousands of random deployments."""
