"""From a plan's file to its columns, a solver and a plan: names resolved, predictions made, programs solved."""
