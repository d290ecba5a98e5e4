"""What the errors of an object store mean: which pass by themselves, and what to do about those that last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmpr_pipeline.core.errors import StoreError
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
