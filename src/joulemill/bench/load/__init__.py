"""The load: arrivals, prompts, requests, and the engine that sends them."""
