"""Packages that some tests need: whether they are installed, without the seconds that their import takes."""

from __future__ import annotations

import importlib.util

import pytest


def need(package: str) -> None:
    """Skip the test, or the module that calls this while it is imported, where the package is not installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)
