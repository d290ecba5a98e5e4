"""Where in a response its answer is."""
