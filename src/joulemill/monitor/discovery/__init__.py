"""Where the monitor learns of its targets."""
