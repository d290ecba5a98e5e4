"""From an address to a store.

A distribution adds a store by an entry point named after its URLs' scheme; it names a class that takes the URL:

    [project.entry-points."mmpr.stores"]
    gs = "my_package:GoogleStore"
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.storage.store import Store

STORES: Registry[Callable[[str], Store]] = Registry(
    "mmpr.stores",
    "store",
    {"file": "mmpr_pipeline.storage.local:LocalStore", "s3": "mmpr_pipeline.storage.s3:S3Store"},
)
"""Stores by the scheme of their URLs."""


def open_store(url: str | Path, known: bool = False) -> Store:
    """The store at a local directory (created when first written to), at `s3://bucket/prefix`, or at the URL of a
    distribution's store.

    S3 takes endpoint, region and credentials from the environment as boto3 does (AWS_ENDPOINT_URL, AWS_PROFILE, ...).
    `known`: another process has reached it already, so a server that does not answer is waited for (see `s3_retry`).
    Nothing is read or written yet. Raises StoreError where no store has such addresses.
    """
    text = str(url)
    scheme = urlsplit(text).scheme if "://" in text else "file"
    if not text or scheme not in STORES.names():
        others = "".join(f", {name}://..." for name in STORES.names() if name not in ("file", "s3"))
        raise StoreError(
            f"Cannot use {text!r} as an output.", remedy=f"Give a directory or s3://bucket/prefix{others}."
        )
    if scheme == "s3":
        from mmpr_pipeline.storage.s3 import S3Store
        from mmpr_pipeline.storage.s3_retry import patience

        return S3Store(text, patience() if known else None)
    return STORES.get(scheme)(urlsplit(text).path if text.startswith("file://") else text)
