"""LaTeX and plain mathematics to a bounded tree."""
