"""How it is served: deployment, shards, steps, continuous batching, power. Pure."""
