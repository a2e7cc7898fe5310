"""What an interval or a history says should be done."""
