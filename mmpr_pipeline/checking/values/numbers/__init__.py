"""Scalars: values, units, precision."""
