"""Engines that answer from what was recorded before."""
