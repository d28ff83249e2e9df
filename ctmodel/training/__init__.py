"""From a store and settings to a run."""
