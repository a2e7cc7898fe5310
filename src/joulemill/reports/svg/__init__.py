"""Inline SVG pictures."""
