"""Training on preference pairs: the MPO loss, prefix-shared groups, reference log-probs, the checks before a run."""
