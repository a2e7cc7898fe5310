"""Tables of published measurements: read, predicted, scored."""
