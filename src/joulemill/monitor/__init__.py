"""The endless loop: read, account, diagnose, keep, expose; the web page."""
