"""From a folder of scans to a store: observed, planned, prepared, put together, and resumed."""
