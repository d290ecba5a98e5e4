"""The version of the package, as it stands in every output."""

__version__ = "0.2.0"
