"""The history store: what the monitor keeps, and how it is read again."""
