"""Looking into a finished output: verify, statistics, terminal pages."""
