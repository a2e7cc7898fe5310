"""Sensors that answer over the network."""
