"""Losses, the reward shift, the reference."""
