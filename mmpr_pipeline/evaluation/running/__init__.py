"""Doing an evaluation on benchmarks: asking, scoring, keeping what was scored, summing up."""
