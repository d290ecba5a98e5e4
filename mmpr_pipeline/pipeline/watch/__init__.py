"""What watches a build: counts, progress, metrics, the terminal."""
