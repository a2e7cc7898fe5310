"""The grid's carbon by place and time: a file, Electricity Maps, WattTime, the UK's Carbon Intensity API."""
