"""From the rows of a store to batches: subsets, order, streaming, augmentation."""
