"""The page to explore with: a guarded local server over the public API, and its export as a static site."""
