"""Power logs that other tools wrote or are writing."""
