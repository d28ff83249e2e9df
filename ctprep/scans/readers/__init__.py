"""One module for each format of raw files."""
