"""Plans of a build: rows of sources, or the stored rollouts of a finished output."""
