"""Several runs that belong together: sweeps, probes, lever experiments, rate search."""
