"""What the errors of an object store mean: which pass by themselves, and what to do about those that last.

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
from contextlib import contextmanager
from typing import Any, TypeVar

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.masking import logger
from mmpr_pipeline.storage.store import MISSING_REMEDY, MissingKeyError

_PASSING_CODES = {
    *("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"),
    *("InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict"),
    "NoSuchUpload",  # the end of a multipart upload whose answer was lost: all of it is sent again
    # The bytes were damaged on their way: sent again, they arrive whole.
    *("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "XAmzContentChecksumMismatch", "InvalidDigest"),
}
_PASSING_STATUS = {409, 429}
_LASTING_STATUS = {501, 505}

MISSING = {"NoSuchKey", "404", "NotFound"}
NO_ROOM = "Free space for temporary files, or set TMPDIR, then run the same command again: it goes on."
_COMES_BACK = "See to the store, which is away or overloaded, then run the same command again: it goes on."
_REMEDIES = {
    "NoSuchBucket": "Create the bucket, or correct the s3:// address.",
    "InvalidBucketName": "Correct the s3:// address: s3://bucket/prefix.",
    "AccessDenied": "Use credentials that may list, read, write and delete under this prefix.",
    "403": "Use credentials that may list, read, write and delete under this prefix.",
    "InvalidAccessKeyId": "Correct AWS_ACCESS_KEY_ID, or AWS_ENDPOINT_URL where this is not AWS itself.",
    "SignatureDoesNotMatch": "Correct AWS_SECRET_ACCESS_KEY.",
    "ExpiredToken": "Log in again: the session token has expired.",
    "NotImplemented": "This server lacks a needed operation (If-None-Match on PUT?): use one that has it.",
}


@contextmanager
def explained(url: str, key: str) -> Iterator[None]:
    """Turn boto's errors, met at a key of the store at `url`, into StoreErrors that say what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"{url}/{key}" if key else url
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in MISSING and key:
            raise MissingKeyError(f"{where} does not exist.", remedy=MISSING_REMEDY) from None
        message = error.response["Error"].get("Message") or code
        remedy = _REMEDIES.get(code) or (_COMES_BACK if passes(error) else None)
        raise StoreError(f"{where}: {message} ({code}).", remedy=remedy) from error
    except (BotoCoreError, Boto3Error) as error:
        kind = type(error).__name__
        remedy = "Check the network and AWS_ENDPOINT_URL, then run the same command again: it goes on."
        if "Credential" in kind or kind in ("ProfileNotFound", "TokenRetrievalError"):
            remedy = "Give S3 credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role."
        raise StoreError(f"{where}: {error}", remedy=remedy) from error
    except OSError as error:
        raise StoreError(f"{where}: {error}", remedy=NO_ROOM) from error


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
