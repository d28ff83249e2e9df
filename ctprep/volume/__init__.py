"""Arithmetic on arrays of voxels, which knows no file."""
