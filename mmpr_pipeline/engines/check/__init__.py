"""`mmpr engine-check`: whether an engine works on this machine or cluster, line by line."""
