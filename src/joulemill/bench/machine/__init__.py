"""The machine of a run: its ceilings, how busy it is, its power limits."""
