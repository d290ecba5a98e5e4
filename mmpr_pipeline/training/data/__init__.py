"""Training data: shards, order, groups, encoding, packing, batches."""
