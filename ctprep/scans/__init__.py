"""The scans of a folder: found, labelled and read."""
