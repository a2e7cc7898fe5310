"""Run folders on disk: what their files may hold, checked as it is read."""
