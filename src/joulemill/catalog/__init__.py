"""Data: devices, models, sites, levers, server dialects. A number never stands without unit and source."""
