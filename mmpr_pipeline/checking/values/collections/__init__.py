"""Sets, lists, tuples, matrices and relations."""
