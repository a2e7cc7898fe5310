"""What ``import joulemill`` offers, one file per thing: prediction, levers, meters, runs, gates, validation."""
