"""From a folder of scans to a store: planned, observed, prepared, put together, and resumed."""
