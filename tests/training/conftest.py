"""Fixtures for the tests of training."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums come out the same on every machine; and tiny tensors are far slower where threads wait for each other."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
