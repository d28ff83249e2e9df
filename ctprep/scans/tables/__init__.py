"""Tables of labels: their cells, their columns, their values, and the scans that their rows speak of."""
