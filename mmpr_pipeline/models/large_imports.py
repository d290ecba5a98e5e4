"""Quicker imports of libraries with tens of thousands of objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_imports() -> Iterator[None]:
    """Import torch, transformers or vLLM within: the garbage collector pauses, and never visits what they define.

    Otherwise it goes through all modules again and again while they are loaded, and once more whenever a library
    collects: 3 of the 10 CPU seconds in which vLLM starts with the embedded model. A caller's `gc.disable()` is kept.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
