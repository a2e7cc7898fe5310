"""Has energy per token changed, and is the change allowed? Pure."""
