"""Numbers and formulas within sentences."""
