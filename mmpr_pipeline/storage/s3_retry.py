"""Which failures of an object store pass by themselves, and how long they are waited for.

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
from typing import Any, TypeVar

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.masking import logger

PATIENCE_SECONDS = 900.0
PATIENCE_VARIABLE = "MMPR_STORE_PATIENCE"
"""Environment variable that sets other seconds; on a cluster, set it for every node."""

LONGEST_WAIT = 10.0
"""Seconds between two looks at a store that has been away for long."""

_PASSING_CODES = {
    *("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"),
    *("InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict"),
    "NoSuchUpload",  # the end of a multipart upload whose answer was lost: all of it is sent again
    # The bytes were damaged on their way: sent again, they arrive whole.
    *("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "XAmzContentChecksumMismatch", "InvalidDigest"),
}
_PASSING_STATUS = {409, 429}
_LASTING_STATUS = {501, 505}

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


def passes(error: BaseException | None) -> bool:
    """Whether the same request may succeed later: the server is away, overloaded or broken, or bytes were damaged."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        ClientError,
        FlexibleChecksumError,
        HTTPClientError,
        IncompleteReadError,
        SSLError,
    )
    from botocore.exceptions import ConnectionError as BotoConnectionError

    if error is None:
        return False
    if isinstance(error, ClientError):
        status = s3_status(error)
        if code_of(error) in _PASSING_CODES or status in _PASSING_STATUS:
            return True
        return status >= 500 and status not in _LASTING_STATUS
    if isinstance(error, SSLError):  # a wrong certificate stays wrong
        return False
    if isinstance(error, BotoConnectionError | HTTPClientError | IncompleteReadError | FlexibleChecksumError):
        return True
    if isinstance(error, Boto3Error):  # a failed transfer, with its reason inside
        return passes(getattr(error, "last_exception", None) or error.__cause__ or error.__context__)
    return False


def s3_status(error: Any) -> int:
    """The HTTP status of a ClientError; 0 where it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: Any) -> str:
    """The S3 error code of a ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))
