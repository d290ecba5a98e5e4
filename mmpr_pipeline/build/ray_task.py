"""What a Ray task came to: its result, its own error, or the end of all its workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mmpr_pipeline.errors import MmprError


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
