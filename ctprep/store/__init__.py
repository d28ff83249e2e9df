"""The store: its format, and how it is written, opened and verified."""
