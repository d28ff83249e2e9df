"""The folder of a run: everything that is kept of a training."""
