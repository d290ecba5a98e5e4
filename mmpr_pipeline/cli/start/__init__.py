"""Commands for the beginning: `mmpr doctor` and `mmpr init`."""
