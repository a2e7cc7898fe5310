"""Sensors of this machine."""
