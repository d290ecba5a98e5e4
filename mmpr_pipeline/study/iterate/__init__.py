"""Build, train, evaluate, and again with the better model: on anybody's own questions."""
