"""A store under an S3 prefix: whole objects, write-once by conditional put, checksums on every upload.

What fails but passes is asked again (see `s3_errors`). A put whose answer was lost may have been done: its repetition
then meets its own object, which is told from another's by its content.

Works with any server that knows `If-None-Match` on PUT (AWS, MinIO, Ceph, SeaweedFS, GCS and R2 in their S3 form).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from mmpr_pipeline.core.errors import StoreError, require
from mmpr_pipeline.core.files import cache_folder
from mmpr_pipeline.storage.journal import ObjectLog
from mmpr_pipeline.storage.lease import ObjectLease, Stamped
from mmpr_pipeline.storage.local import room_explained
from mmpr_pipeline.storage.s3_errors import MISSING, NO_ROOM, code_of, explained, patience, patiently, s3_status
from mmpr_pipeline.storage.store import MissingKeyError, Store, check_key, hidden

PART_BYTES = 16 << 20
REQUEST_ATTEMPTS = 4
"""Times that boto3 itself sends a request, within a few seconds."""

_ANSWERED: set[str] = set()
"""Stores that have answered this process: they are waited for."""

T = TypeVar("T")


class S3Store(Store):
    """Objects of `s3://bucket/prefix`. `patience`: seconds to wait for a server that is away; if not given, see
    `s3_errors`."""

    def __init__(self, url: str, patience: float | None = None) -> None:
        self._patience = patience
        self.bucket, _, self.prefix = url.removeprefix("s3://").strip("/").partition("/")
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        if not self.bucket:
            raise StoreError(f"{url!r} names no bucket.", remedy="Give s3://bucket/prefix.")

    @cached_property
    def client(self) -> Any:
        """The boto3 client; made on first use, because it cannot travel between processes."""
        require("s3")
        import boto3.session
        import botocore.session
        from botocore.config import Config

        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        config = Config(
            retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS}, connect_timeout=10, read_timeout=120
        )
        with explained(self.url, ""):
            # Each has today's environment, and shares the parsed service models: they take a tenth of a second of CPU.
            core = botocore.session.get_session()
            core.register_component("data_loader", _model_loader())
            session = boto3.session.Session(botocore_session=core)
            return session.client("s3", region_name=region or session.region_name or "us-east-1", config=config)

    def name(self, key: str) -> str:
        """The object's name in the bucket."""
        return f"{self.prefix}/{check_key(key)}" if self.prefix else check_key(key)

    def ask(self, key: str, call: Callable[[], T]) -> T:
        """The call's result, waited for with patience. Raises StoreError that says what to do."""
        with explained(self.url, key):
            result = patiently(self.url, call, self._patience_with)
            _ANSWERED.add(self.url)
            return result

    def _patience_with(self, error: Exception) -> float:
        from botocore.exceptions import ClientError

        if self._patience is not None:
            return self._patience
        # An error that a server sent is an answer too; no connection at first contact is a wrong address.
        return patience() if self.url in _ANSWERED or isinstance(error, ClientError) else 0.0

    def waited_for(self) -> S3Store:
        return S3Store(self.url, patience())

    def __reduce__(self) -> tuple[Callable[[str], S3Store], tuple[str]]:
        return (_reached_before, (self.url,))

    def read(self, key: str) -> bytes:
        def body() -> bytes:
            found: bytes = self.client.get_object(Bucket=self.bucket, Key=self.name(key))["Body"].read()
            return found

        return self.ask(key, body)

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except MissingKeyError:
            return False
        return True

    def list(self, prefix: str = "") -> list[str]:
        root = f"{self.prefix}/" if self.prefix else ""

        def every_page() -> list[str]:
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=root + prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

        names = self.ask(prefix, every_page)
        return sorted(key for key in (name.removeprefix(root) for name in names) if not hidden(key))

    def size(self, key: str) -> int:
        return int(self._head(key)["ContentLength"])

    def write(self, key: str, data: bytes) -> None:
        self.ask(key, lambda: self._put(key, data))

    def create(self, key: str, data: bytes) -> bool:
        return self.put_if(key, data, {"IfNoneMatch": "*"}) is not None

    def put_if(self, key: str, data: bytes, condition: dict[str, str]) -> str | None:
        """Put under a condition (`IfNoneMatch` or `IfMatch`): the new ETag, or None where the condition failed."""
        from botocore.exceptions import BotoCoreError, ClientError

        unsure = False
        """Whether an earlier try may have been done although it seemed to fail; once so, it stays so."""

        def put() -> str | None:
            nonlocal unsure
            try:
                return self._put(key, data, **condition)
            except ClientError as error:
                exists = s3_status(error) == 412 or code_of(error) == "PreconditionFailed"
                # That, and 409 (another is putting it), say that nothing was done, but by boto's earlier tries.
                retries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
                unsure = unsure or not (exists or s3_status(error) == 409) or retries > 0
                if not exists:
                    raise
            except BotoCoreError:
                unsure = True
                raise
            return self._own_etag(key, data) if unsure else None

        return self.ask(key, put)

    def _put(self, key: str, data: bytes, **condition: str) -> str:
        found: str = self.client.put_object(
            Bucket=self.bucket, Key=self.name(key), Body=data, ChecksumAlgorithm="SHA256", **condition
        )["ETag"]
        return found

    def _own_etag(self, key: str, data: bytes) -> str | None:
        """The ETag of the object where it holds just this data: it was put by a try whose answer was lost."""
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.name(key))
        except ClientError as error:
            if code_of(error) in MISSING:  # gone again: it was another's
                return None
            raise
        return answer["ETag"] if answer["Body"].read() == data else None

    def stamped(self, key: str) -> Stamped:
        """The object, with its age by the server's own clock. Raises MissingKeyError."""

        def answer_and_body() -> tuple[Any, bytes]:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.name(key))
            return answer, answer["Body"].read()

        head, body = self.ask(key, answer_and_body)
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return Stamped((now - head["LastModified"]).total_seconds(), head["ETag"], body)

    def _head(self, key: str) -> dict[str, Any]:
        return self.ask(key, lambda: self.client.head_object(Bucket=self.bucket, Key=self.name(key)))

    def put_file(self, key: str, local: Path) -> None:
        from boto3.s3.transfer import TransferConfig

        transfer = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
        extra = {"ChecksumAlgorithm": "SHA256"}
        self.ask(
            key,
            lambda: self.client.upload_file(str(local), self.bucket, self.name(key), ExtraArgs=extra, Config=transfer),
        )

    def local_copy(self, key: str) -> Path:
        etag = self._head(key)["ETag"]
        with explained(self.url, key):
            version = hashlib.sha256(f"{self.client.meta.endpoint_url} {self.url} {etag}".encode()).hexdigest()[:32]
            target = cache_folder() / "objects" / version / key
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                    os.replace(self.fetch(key, Path(folder)), target)
        return target

    def fetch(self, key: str, folder: Path) -> Path:
        target = folder / key.replace("/", "-")
        self.ask(key, lambda: self.client.download_file(self.bucket, self.name(key), str(target)))
        return target

    def delete(self, key: str) -> None:
        self.ask(key, lambda: self.client.delete_object(Bucket=self.bucket, Key=self.name(key)))

    def open_log(self, prefix: str, attempt: int, done: str | None = None) -> ObjectLog:
        return ObjectLog(self, prefix, attempt, done)

    @contextmanager
    def lease(self) -> Iterator[Callable[[], None]]:
        taken = ObjectLease(self, S3Store(self.url, patience=0.0))
        taken.acquire()
        try:
            yield taken.check
        finally:
            taken.release()

    def is_held(self) -> bool:
        return ObjectLease(self, self).is_held()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="mmpr-"))
        try:
            with room_explained(folder, NO_ROOM):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check_writable(self) -> None:
        probe = f".probe-{uuid.uuid4().hex}"
        if not self.create(probe, b"probe"):
            raise StoreError(f"{self.url}: the server reported a new object as existing.")
        if self.create(probe, b"again"):
            self.delete(probe)
            raise StoreError(
                f"{self.url}: this S3 server ignores conditional puts (If-None-Match).",
                remedy="Use a server that honours them, or a local output.",
            )
        self.delete(probe)

    def left_over(self) -> set[str]:
        """Multipart uploads that were not ended; their parts cost money and are seen by nobody. Empty for those who may
        only read."""
        with suppress(StoreError):
            return {upload["Key"] for upload in self.ask("", self._uploads)}
        return set()

    def sweep(self) -> None:
        def abort_all() -> None:
            for upload in self._uploads():
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

        self.ask("", abort_all)

    def _uploads(self) -> tuple[dict[str, Any], ...]:
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/" if self.prefix else ""
        )
        return tuple(upload for page in pages for upload in page.get("Uploads", ()))


@lru_cache(maxsize=1)
def _model_loader() -> Any:
    import botocore.session

    return botocore.session.get_session().get_component("data_loader")


def _reached_before(url: str) -> S3Store:
    return S3Store(url).waited_for()
