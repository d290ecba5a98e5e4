"""A second opinion: a verifier model on what the rules found doubtful or incorrect."""
