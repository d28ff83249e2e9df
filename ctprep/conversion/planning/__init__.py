"""What becomes of each scan, decided before its voxels are read, and how that is shown."""
