"""Intervals and repeats: ratios of sums, proportions, lognormal arithmetic. Pure."""
