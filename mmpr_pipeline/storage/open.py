"""From an address to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.store import Store


def open_store(url: str | Path, known: bool = False) -> Store:
    """The store at a local directory (created when first written to) or at `s3://bucket/prefix`.

    S3 takes endpoint, region and credentials from the environment as boto3 does (AWS_ENDPOINT_URL, AWS_PROFILE, ...).
    `known`: another process has reached it already, so a server that does not answer is waited for (see `s3_retry`).
    Nothing is read or written yet.
    """
    text = str(url)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme == "s3":
        from mmpr_pipeline.storage.s3 import S3Store
        from mmpr_pipeline.storage.s3_retry import patience

        return S3Store(text, patience() if known else None)
    if scheme == "file":
        text = urlsplit(text).path
    elif scheme or not text:
        raise StoreError(f"Cannot use {text!r} as an output.", remedy="Give a directory or s3://bucket/prefix.")
    from mmpr_pipeline.storage.local import LocalStore

    return LocalStore(text)
