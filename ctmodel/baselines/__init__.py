"""What a plain statistic can tell of scans, trained and scored on the same subsets as a network."""
