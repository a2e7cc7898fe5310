"""Formats of other people's texts, read from bytes or lines: pure, bounded, safe against malformed input."""
