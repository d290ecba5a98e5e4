"""How one response becomes a number: one rule a module, each with its source, found by name in `registry`."""
