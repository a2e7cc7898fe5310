"""Pure room: diagnosis, levers, fleet plan, gate."""
