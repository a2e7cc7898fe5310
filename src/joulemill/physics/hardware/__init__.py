"""What it runs on: device, node, site, the grid's carbon. Pure."""
