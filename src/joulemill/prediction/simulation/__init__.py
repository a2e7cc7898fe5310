"""From names to simulated runs: the catalog resolves, the engine loop plays, the plant draws power."""
