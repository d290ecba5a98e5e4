"""Images of a dataset as files of an fsspec file system, so that `datasets` can decode them straight from the shards.

`mmpr-image://file/ABS/OUT/images/images-00000-of-00008.arrow/SHA256` is one image; `mmpr-image://s3/BUCKET/...` one in
S3. A table of pairs then holds names only: images are never copied for each pair, and `map`, `filter`, `select`, worker
processes and `push_to_hub` (which embeds the bytes) all work, because to them these are remote files like any other.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import fsspec
import pyarrow as pa
from fsspec.spec import AbstractFileSystem

from mmpr_pipeline.dataset.files.lookup import ShardImages
from mmpr_pipeline.storage import Store, open_store

PROTOCOL = "mmpr-image"
OPEN_FILES = 1024


def image_prefix(store: Store, key: str) -> str:
    """The address of an images file; `/SHA256` behind it addresses one image."""
    place = store.url.removeprefix("s3://")
    place = f"s3/{place}" if store.url.startswith("s3://") else f"file{place}"
    return f"{PROTOCOL}://{quote(place)}/{key}"


class ImageFileSystem(AbstractFileSystem):
    """Read-only; opening an image that is not there raises FileNotFoundError."""

    protocol = PROTOCOL
    root_marker = ""

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode != "rb":
            raise ValueError("images of a dataset can only be read, as bytes")
        return io.BytesIO(_image(self._strip_protocol(path)))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        found: bytes = _image(self._strip_protocol(path)).to_pybytes()[start:end]
        return found

    def info(self, path: str, **_: Any) -> dict[str, object]:
        stripped = self._strip_protocol(path)
        return {"name": stripped, "size": _image(stripped).size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        found = self.info(path)
        return [found] if detail else [found["name"]]


def _image(path: str) -> pa.Buffer:
    """The bytes of an image, in place in the memory-mapped images file."""
    where, _, name = path.rpartition("/")
    images = _images_file(where)
    if name not in images:  # the dataset may have been built anew since its files were opened
        _images_file.cache_clear()
        images = _images_file(where)
    if name not in images:
        raise FileNotFoundError(f"No image {name} in {unquote(where)}")
    return images.data(name)


@lru_cache(maxsize=OPEN_FILES)
def _images_file(where: str) -> ShardImages:
    scheme, _, place = unquote(where).partition("/")
    root, kind, file = place.rsplit("/", 2)
    store = open_store(f"s3://{root}" if scheme == "s3" else f"/{root}")
    return ShardImages(store.local_copy(f"{kind}/{file}"))


def register_filesystem() -> None:
    """Make fsspec know the protocol in this process (an installed mmpr is known by its entry point, everywhere)."""
    fsspec.register_implementation(PROTOCOL, f"{__name__}.ImageFileSystem", clobber=True)
