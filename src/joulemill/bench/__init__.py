"""The load generator, a measured run, interventions."""
