"""Near-duplicates among training rows: what is kept of a row, and the search among all of them."""
