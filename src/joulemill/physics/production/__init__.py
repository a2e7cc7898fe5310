"""The Token Production Function: ceilings, rate, energy, utilization. Pure."""
