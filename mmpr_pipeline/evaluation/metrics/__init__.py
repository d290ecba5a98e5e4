"""From scored responses to a benchmark's numbers: one function a metric, each with its source, found by name."""
