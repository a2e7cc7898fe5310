"""Meters: one file per sensor family, each a parser (pure) and a thin transport."""
