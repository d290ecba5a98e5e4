"""Symbolic equality by sympy, in a child process."""
