"""Traces of requests as the wild has them: CSV or JSON Lines, under many names → columns in SI units. Pure."""
