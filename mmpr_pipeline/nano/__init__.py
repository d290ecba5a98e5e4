"""The embedded default: generated question sources, a tiny checkpoint, and the script that trained it."""
