"""Ranks and sharding."""
