"""A deterministic fake engine for tests and rehearsals."""
