"""Whether an answer is the gold: one file a kind."""
