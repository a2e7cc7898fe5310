"""Energy levers: what each changes, by how much, and how surely. Pure."""
