"""A store under an S3 prefix: whole objects, write-once by conditional put, checksums on every upload.

Works with any server that knows `If-None-Match` on PUT (AWS, MinIO, Ceph, SeaweedFS, GCS and R2 in their S3 form).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from mmpr_pipeline.errors import StoreError
from mmpr_pipeline.storage.store import MissingKeyError, Store, check_key, hidden

PART_BYTES = 16 << 20
CREATE_ATTEMPTS = 8
REQUEST_ATTEMPTS = 10
_MISSING = {"NoSuchKey", "404", "NotFound"}
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


class S3Store(Store):
    """Objects of `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self.bucket, _, self.prefix = url.removeprefix("s3://").strip("/").partition("/")
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        if not self.bucket:
            raise StoreError(f"{url!r} names no bucket.", remedy="Give s3://bucket/prefix.")

    @cached_property
    def client(self) -> Any:
        """The boto3 client; made on first use, because it cannot travel between processes."""
        import boto3.session
        from botocore.config import Config

        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        config = Config(
            retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS}, connect_timeout=10, read_timeout=120
        )
        with self.explained(""):
            session = boto3.session.Session(botocore_session=_session())
            return session.client("s3", region_name=region or session.region_name or "us-east-1", config=config)

    def name(self, key: str) -> str:
        """The object's name in the bucket."""
        return f"{self.prefix}/{check_key(key)}" if self.prefix else check_key(key)

    def read(self, key: str) -> bytes:
        with self.explained(key):
            return self.client.get_object(Bucket=self.bucket, Key=self.name(key))["Body"].read()

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except MissingKeyError:
            return False
        return True

    def list(self, prefix: str = "") -> list[str]:
        root = f"{self.prefix}/" if self.prefix else ""
        with self.explained(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=root + prefix)
            names = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(key for key in (name.removeprefix(root) for name in names) if not hidden(key))

    def size(self, key: str) -> int:
        with self.explained(key):
            return self.client.head_object(Bucket=self.bucket, Key=self.name(key))["ContentLength"]

    def write(self, key: str, data: bytes) -> None:
        with self.explained(key):
            self.client.put_object(Bucket=self.bucket, Key=self.name(key), Body=data, ChecksumAlgorithm="SHA256")

    def create(self, key: str, data: bytes) -> bool:
        with self.explained(key):
            return self.put_if(key, data, {"IfNoneMatch": "*"}) is not None

    def put_if(self, key: str, data: bytes, condition: dict[str, str]) -> str | None:
        """Put under a condition (`IfNoneMatch` or `IfMatch`): the new ETag, or None where the condition failed."""
        from botocore.exceptions import ClientError

        for attempt in range(CREATE_ATTEMPTS):
            try:
                answer = self.client.put_object(
                    Bucket=self.bucket, Key=self.name(key), Body=data, ChecksumAlgorithm="SHA256", **condition
                )
                return answer["ETag"]
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status == 412 or error.response["Error"]["Code"] == "PreconditionFailed":
                    # A retry of a put whose answer was lost meets its own object: the content tells.
                    return self._own_etag(key, data) if _retried(error) else None
                if status != 409:  # 409: another conditional put was going on at the same moment
                    raise
                time.sleep(0.05 * 2**attempt)
        return None

    def _own_etag(self, key: str, data: bytes) -> str | None:
        answer = self.client.get_object(Bucket=self.bucket, Key=self.name(key))
        return answer["ETag"] if answer["Body"].read() == data else None

    def put_file(self, key: str, local: Path) -> None:
        from boto3.s3.transfer import TransferConfig

        transfer = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
        with self.explained(key):
            self.client.upload_file(
                str(local), self.bucket, self.name(key), ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=transfer
            )

    def local_copy(self, key: str) -> Path:
        with self.explained(key):
            etag = self.client.head_object(Bucket=self.bucket, Key=self.name(key))["ETag"]
            version = hashlib.sha256(f"{self.client.meta.endpoint_url} {self.url} {etag}".encode()).hexdigest()[:32]
            target = cache_folder() / "objects" / version / key
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                    os.replace(self.fetch(key, Path(folder)), target)
        return target

    def fetch(self, key: str, folder: Path) -> Path:
        target = folder / key.replace("/", "-")
        with self.explained(key):
            self.client.download_file(self.bucket, self.name(key), str(target))
        return target

    def delete(self, key: str) -> None:
        with self.explained(key):
            self.client.delete_object(Bucket=self.bucket, Key=self.name(key))

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="mmpr-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check_writable(self) -> None:
        probe = f".probe-{uuid.uuid4().hex}"
        with self.explained(""):
            if not self.create(probe, b"probe"):
                raise StoreError(f"{self.url}: a new object was said to exist already.")
            if self.create(probe, b"again"):
                self.delete(probe)
                raise StoreError(
                    f"{self.url}: this S3 server ignores conditional puts (If-None-Match).",
                    remedy="Use a server that honours them, or a local output.",
                )
            self.delete(probe)

    def sweep(self) -> None:
        """Abort multipart uploads that a killed writer left; their parts cost money and are seen by nobody."""
        with self.explained(""):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=f"{self.prefix}/" if self.prefix else ""
            )
            for upload in [u for page in pages for u in page.get("Uploads", ())]:
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    @contextmanager
    def explained(self, key: str) -> Iterator[None]:
        """Turn boto's errors into StoreErrors that say what to do."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING and key:
                raise MissingKeyError(f"{where} does not exist.") from None
            message = error.response["Error"].get("Message") or code
            raise StoreError(f"{where}: {message} ({code}).", remedy=_REMEDIES.get(code)) from error
        except (BotoCoreError, S3UploadFailedError) as error:
            raise StoreError(f"{where}: {error}", remedy=_transport_remedy(error)) from error
        except OSError as error:
            raise StoreError(f"{where}: {error}", remedy="Free space for temporary files, or set TMPDIR.") from error


def _session() -> Any:
    """A new session, with today's environment, that shares the parsed service models: a tenth of a second of CPU."""
    import botocore.session

    session = botocore.session.get_session()
    session.register_component("data_loader", _model_loader())
    return session


@lru_cache(maxsize=1)
def _model_loader() -> Any:
    import botocore.session

    return botocore.session.get_session().get_component("data_loader")


def _retried(error: Any) -> bool:
    return error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0


def _transport_remedy(error: Exception) -> str:
    kind = type(error).__name__
    if "Credential" in kind or kind in ("ProfileNotFound", "TokenRetrievalError"):
        return "Give S3 credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role."
    return "Check the network and AWS_ENDPOINT_URL, then run the same command again: it goes on."


def cache_folder() -> Path:
    """Where downloads and converted copies lie: `MMPR_CACHE`, or `mmpr` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MMPR_CACHE") or Path(base) / "mmpr")
