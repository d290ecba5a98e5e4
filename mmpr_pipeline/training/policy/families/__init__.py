"""Model families: what the trainer must know of a vision-language model."""
