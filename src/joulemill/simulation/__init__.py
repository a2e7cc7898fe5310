"""An engine loop over traffic: time is an argument, in integer nanoseconds; randomness only by a passed generator."""
