"""Original InternVL2 and 2.5 checkpoints to the transformers-native format, from raw tensors; no remote code runs."""
