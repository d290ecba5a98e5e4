"""From checked rollouts to preference pairs: by correctness, and by continuing without the image (DropNTP)."""
