"""Models: which one is meant, its tiles, image parts of a chat, conversion of original checkpoints."""
