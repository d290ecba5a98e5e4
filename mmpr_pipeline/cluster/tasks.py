"""Ray tasks: what one came to (its result, its own error, or the end of all its workers), and the end of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mmpr_pipeline.core.errors import MmprError


def result(ref: Any, lost: Callable[[str], MmprError]) -> Any:
    """What the task gave. Raises its own MmprError as it was, and `lost(NAME OF RAY'S ERROR)` where Ray gave it up."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, MmprError):
            raise error.cause from None
        raise
    except RayError as error:
        raise lost(type(error).__name__) from error


def end(running: list[Any]) -> None:
    """Stop what still runs, and give workers time to close their journals.

    What ended one task often ends all: those that are about to end are let. Ray 2.60 was seen to abort its process over
    a task that ended while it was cancelled ("Tried to complete task that was not pending").
    """
    if running:
        _, running = ray.wait(running, num_returns=len(running), timeout=1)
    for ref in running:
        ray.cancel(ref)
    if running:
        ray.wait(running, num_returns=len(running), timeout=10)
