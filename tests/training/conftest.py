"""Fixtures for the tests of training."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums come out the same on every machine; and tiny tensors are far slower where threads wait for each other."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> None:
    """A run collects garbage before it measures memory, in a quarter of a second where all that was imported since
    pytest's start is looked through."""
    gc.freeze()
