"""Losses and the reference."""
