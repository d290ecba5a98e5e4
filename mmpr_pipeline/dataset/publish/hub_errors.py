"""What an error of the Hub's client means: whether to try again, how long to wait, and what may be told of it."""

from __future__ import annotations

import re
from typing import Any

from mmpr_pipeline.core.backoff import seconds_to_wait

LONGEST_WAIT = 3700.0
"""Seconds: the Hub counts commits by the hour, and says in Retry-After when it will take the next one."""

MESSAGE_CHARS = 300
_RESET = re.compile(r"\bt=(\d{1,6})")
_ADVICE = re.compile(r" *For more information check: \S+")


def error_text(error: BaseException) -> str:
    """What is known of an error, on one line; a wrapped one says less than its cause."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    return _ADVICE.sub("", " ".join(str(cause).split())) or type(cause).__name__


def _response(error: BaseException) -> Any:
    found: BaseException | None = error
    while found is not None:
        if (response := getattr(found, "response", None)) is not None:
            return response
        found = found.__cause__
    return None


def hub_status(error: BaseException) -> int | None:
    """HTTP status of the answer, if there was one."""
    return getattr(_response(error), "status_code", None)


def transient(error: BaseException) -> bool:
    """Whether trying again may help: no answer, too many requests, or the server's own trouble."""
    status = hub_status(error)
    if status is not None:
        return status == 429 or status >= 500
    found: BaseException | None = error
    while found is not None:  # by name: the Hub's client has changed its HTTP library before
        if any(kind.__name__ in ("TransportError", "ConnectionError") for kind in type(found).__mro__):
            return True
        found = found.__cause__
    return False


def wait_for(error: BaseException, attempt: int) -> float:
    """Seconds to wait: what the server asks for (Retry-After, or `t` of RateLimit: seconds until its count ends),
    else twice as long each time, in minutes where there were too many requests."""
    headers = getattr(_response(error), "headers", {})
    asked = headers.get("Retry-After", "")
    if not asked.isdecimal():
        reset = _RESET.search(headers.get("RateLimit", ""))
        asked = reset[1] if reset else ""
    if asked:
        return min(float(asked) + 1, LONGEST_WAIT)
    return seconds_to_wait(attempt, first=120.0 if hub_status(error) == 429 else 2.0, longest=LONGEST_WAIT)
