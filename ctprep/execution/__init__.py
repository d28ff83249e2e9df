"""Many calls at once: in threads, in processes, or on a Dask cluster."""
