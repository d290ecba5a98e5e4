"""Ray: sessions and tasks. This room knows nothing of questions, pairs or training."""
