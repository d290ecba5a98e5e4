"""What passes by itself is waited for, what does not is told at once."""

from __future__ import annotations

import itertools

import pytest
from boto3.exceptions import RetriesExceededError, S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    SSLError,
)

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage import s3_errors
from mmpr_pipeline.storage.s3_errors import explained, passes, patience, patiently, waits


def answer(status: int, code: str = "") -> ClientError:
    """An error as a server sends it."""
    meta = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code or str(status)}, "ResponseMetadata": meta}, "PutObject")  # type: ignore[arg-type]


def failed_upload(cause: Exception) -> Exception:
    """An upload's error as boto3 raises it: with its cause inside."""
    try:
        try:
            raise cause
        except Exception as error:
            raise S3UploadFailedError("failed") from error
    except S3UploadFailedError as failed:
        return failed


@pytest.mark.parametrize(
    "error",
    [
        *(answer(status) for status in (429, 500, 502, 503, 504)),
        answer(400, "RequestTimeout"),
        answer(400, "BadDigest"),
        answer(404, "NoSuchUpload"),
        EndpointConnectionError(endpoint_url="http://host"),
        ConnectTimeoutError(endpoint_url="http://host"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        failed_upload(answer(503, "SlowDown")),
        RetriesExceededError(IncompleteReadError(actual_bytes=1, expected_bytes=2)),
    ],
)
def test_what_passes(error: Exception) -> None:
    assert passes(error)


@pytest.mark.parametrize(
    "error",
    [
        *(answer(status) for status in (400, 403, 404, 412, 501)),
        answer(403, "SignatureDoesNotMatch"),
        answer(404, "NoSuchBucket"),
        SSLError(endpoint_url="https://host", error="certificate"),
        NoCredentialsError(),
        failed_upload(answer(403, "AccessDenied")),
        OSError(28, "No space left on device"),
    ],
)
def test_what_lasts(error: Exception) -> None:
    assert not passes(error)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(s3_errors, "time", clock)
    return clock


def test_a_call_is_repeated_until_it_succeeds_or_patience_ends(clock: Clock) -> None:
    def back_after(seconds: float) -> str:
        if clock.now < seconds:
            raise answer(503)
        return "back"

    assert patiently("s3://b", lambda: back_after(800), lambda _: 900.0) == "back"
    assert 800 <= clock.now < 811
    clock.now = 0.0
    with pytest.raises(ClientError):
        patiently("s3://b", lambda: back_after(1000), lambda _: 900.0)
    assert 880 < clock.now <= 900


def test_what_lasts_and_what_nobody_waits_for_is_told_at_once(clock: Clock) -> None:
    def fails(error: Exception) -> None:
        raise error

    with pytest.raises(ClientError):
        patiently("s3://b", lambda: fails(answer(403)), lambda _: 900.0)
    with pytest.raises(ClientError):
        patiently("s3://b", lambda: fails(answer(503)), lambda _: 0.0)
    assert clock.now == 0.0


def test_waits_grow_to_the_longest() -> None:
    first = list(itertools.islice(waits(), 20))
    assert first[0] <= 0.5
    assert max(first) <= s3_errors.LONGEST_WAIT
    assert min(first[-5:]) >= s3_errors.LONGEST_WAIT / 2


def test_patience_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPR_STORE_PATIENCE", raising=False)
    assert patience() == s3_errors.PATIENCE_SECONDS
    monkeypatch.setenv("MMPR_STORE_PATIENCE", "3.5")
    assert patience() == 3.5


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [(answer(502, "BadGateway"), True), (answer(503, "SlowDown"), True), (answer(400, "X"), False)],
)
def test_the_error_of_a_store_that_stays_away_names_a_remedy(error: ClientError, goes_on: bool) -> None:
    with pytest.raises(StoreError) as raised, explained("s3://bucket/out", "key"):
        raise error
    assert ("goes on" in str(raised.value)) == goes_on
