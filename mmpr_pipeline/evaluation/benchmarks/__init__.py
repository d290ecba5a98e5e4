"""Benchmarks: a small declaration each, beside which a third party's are found through entry points."""
