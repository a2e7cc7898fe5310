"""What a model computes: architecture, blocks, number formats, and how they are read from a config. Pure."""
