"""From scrapes and readings to the totals of an interval."""
