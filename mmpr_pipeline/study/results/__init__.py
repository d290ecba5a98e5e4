"""Results of a study: scores, the table, the curves."""
