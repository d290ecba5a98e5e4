"""Questions that Python makes, and sources of them: those of a program, and those of other distributions."""
