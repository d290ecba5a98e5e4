"""How long an object store is waited for that fails in a way that passes by itself (`s3_errors.passes`).

boto3 repeats a request a few times within seconds. That is enough for a hiccup, not for a server that is restarted,
a bucket that is throttled or a network that is being repaired, at the price of a whole build's GPUs. So behind boto3's
own retries stands the patience of this file: what passes is asked again for a quarter of an hour, what does not is told
at once. A server that has never answered this process is not waited for: its address is more likely wrong.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.masking import logger
from mmpr_pipeline.storage.s3_errors import passes

PATIENCE_SECONDS = 900.0
PATIENCE_VARIABLE = "MMPR_STORE_PATIENCE"
"""Environment variable that sets other seconds; on a cluster, set it for every node."""

LONGEST_WAIT = 10.0
"""Seconds between two looks at a store that has been away for long."""

T = TypeVar("T")
_log = logger(__name__)


def patience() -> float:
    """Seconds that a store which answered before is waited for. Raises StoreError where the environment's are none."""
    text = os.environ.get(PATIENCE_VARIABLE)
    if text is None:
        return PATIENCE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise StoreError(
            f"{PATIENCE_VARIABLE} must be a number of seconds, got {text!r}.", remedy="Give a number, for example 900."
        )
    return seconds


def patiently(where: str, call: Callable[[], T], seconds: Callable[[Exception], float]) -> T:
    """The call's result; while it fails by something that passes, it is called again, for as long as `seconds` says."""
    began = time.monotonic()
    for count, wait in enumerate(waits()):
        try:
            return call()
        except Exception as error:
            if not passes(error) or time.monotonic() + wait > began + seconds(error):
                raise
            if count == 2:  # not a hiccup
                _log.warning("%s: %s. Retrying for at most %.0f s.", where, error, seconds(error))
        time.sleep(wait)
    raise AssertionError("the waits never end")


def waits() -> Iterator[float]:
    """Seconds to wait before each next try: growing, and apart between clients that failed at the same moment."""
    return (seconds_to_wait(tries, first=0.5, longest=LONGEST_WAIT) for tries in itertools.count())
