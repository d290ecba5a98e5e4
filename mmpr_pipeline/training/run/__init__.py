"""A training run: launch, loop, checkpoints, export."""
