"""LLM servers: an OpenAI-compatible streaming client, the scrape of a server's metrics, the embedded server."""
