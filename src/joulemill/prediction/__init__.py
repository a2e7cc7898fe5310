"""From names to a prediction: catalog and physics together, with intervals and what falls short."""
