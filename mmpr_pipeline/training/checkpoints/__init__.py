"""Checkpoints: what they hold, where they lie, how they are written behind the training."""
