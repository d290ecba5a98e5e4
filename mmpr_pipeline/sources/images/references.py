"""How rows refer to images: bytes, a struct of bytes and path, base64, a data URL, a URL, or a path.

A path leads below a folder or into an archive, and never out of it: not by `..`, not by being absolute, not by a
symbolic link. What a URL may lead to is said in `web`.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.files.hub import hub_file
from mmpr_pipeline.sources.images.archives import ImageArchives
from mmpr_pipeline.sources.images.decode import MAX_BYTES, encode_png
from mmpr_pipeline.sources.images.web import WebImages

_URL = ("http://", "https://", "ftp://", "s3://", "gs://", "hf://", "file://")
BASE64_OF_IMAGES = ("/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD", "Qk", "SUkq", "TU0AK", "PHN2Zy", "PD94bWw")


@dataclass(frozen=True)
class ImageFolder:
    """Where image paths of rows start (`base`), and what they must not leave (`root`); no base: paths mean nothing."""

    base: Path | None = None
    root: Path | None = None
    most: int = MAX_BYTES

    def read(self, path: str) -> bytes:
        """The bytes of an image file. Raises ItemRejected: missing_image, image_outside_root or image_too_large."""
        if self.base is None or self.root is None:
            raise ItemRejected("missing_image", f"the source has no folder of images: {path[:200]}")
        if "\x00" in path or len(path) > 4096:
            raise ItemRejected("missing_image", "not a path")
        try:
            target, root = os.path.realpath(self.base / path), os.path.realpath(self.root)
        except ValueError:  # half a surrogate pair
            raise ItemRejected("missing_image", "not a path") from None
        if os.path.isabs(path) or os.path.commonpath([target, root]) != root:
            raise ItemRejected("image_outside_root", path[:200])
        try:
            found = os.stat(target)
            if not stat.S_ISREG(found.st_mode):
                raise ItemRejected("missing_image", f"{os.path.basename(target)[:200]} is not a file")
            if found.st_size > self.most:
                raise ItemRejected("image_too_large", f"{found.st_size} bytes, at most {self.most}")
            with open(target, "rb") as file:
                return file.read(self.most + 1)
        except OSError as error:
            raise ItemRejected("missing_image", f"{path[:200]}: {error.strerror or error}") from None


@dataclass(frozen=True)
class HubImages:
    """Plain image files of a data set repository, at one commit; paths start at `root`."""

    repository: str
    commit: str
    root: str

    def read(self, path: str) -> bytes:
        """The bytes of an image file, which stays in the Hub's cache. Raises ItemRejected, SourceError."""
        name = posixpath.normpath(posixpath.join(self.root, path))
        if path.startswith("/") or name.startswith("../") or "\x00" in path or len(path) > 4096:
            raise ItemRejected("image_outside_root", path[:200])
        return hub_file(self.repository, self.commit, name)


@dataclass(frozen=True)
class ImagePlaces:
    """Where the images of a source are that its rows do not hold themselves."""

    folder: ImageFolder = ImageFolder()
    archives: ImageArchives | None = None
    web: WebImages | None = None
    hub: HubImages | None = None
    most_bytes: int = MAX_BYTES
    prefix: str = ""

    def read(self, path: str) -> bytes:
        """The image behind a path: in an archive, in the repository, else in the folder."""
        path = path.removeprefix(self.prefix)
        if self.archives:
            found = self.archives.read(path)
            if found is not None:
                return found
            if self.folder.base is None:
                raise ItemRejected("missing_image", f"no archive has {path[:200]}")
        return self.hub.read(path) if self.hub else self.folder.read(path)

    def fetch(self, url: str) -> bytes:
        """The image behind a URL."""
        if self.web is None or not url[:8].lower().startswith(("http://", "https://")):
            raise ItemRejected("image_url", url[:200])
        return self.web.read(url)


def image_bytes(reference: Any, places: ImagePlaces) -> bytes:
    """The encoded image that a row refers to.

    Raises ItemRejected: missing_image, image_outside_root, image_url, image_too_large, broken_image or wrong_type, and
    what archives and the web raise.
    """
    if isinstance(reference, bytes | bytearray | memoryview):
        return bytes(reference)
    if isinstance(reference, str):
        return _from_text(reference, places)
    if isinstance(reference, Mapping):
        if isinstance(reference.get("bytes"), bytes | bytearray | memoryview | str):
            return image_bytes(reference["bytes"], places)
        path = reference.get("path") or reference.get("url") or reference.get("src")
        if isinstance(path, str):
            return _from_text(path, places)
        raise ItemRejected("missing_image", "neither bytes nor path")
    if reference is None:
        raise ItemRejected("missing_image", "no image in the row")
    if callable(getattr(reference, "save", None)) and hasattr(reference, "mode"):
        buffer = io.BytesIO()
        try:
            reference.save(buffer, "PNG")
        except (OSError, ValueError):
            return encode_png(reference.convert("RGB"))
        return buffer.getvalue()
    raise ItemRejected("wrong_type", f"image: {type(reference).__name__}")


def _from_text(text: str, places: ImagePlaces) -> bytes:
    start = text[:64].strip().lower()
    if not start:
        raise ItemRejected("missing_image", "empty path")
    if start.startswith("data:"):
        header, comma, payload = text.partition(",")
        if not comma or not header.strip().lower().endswith(";base64"):
            raise ItemRejected("broken_image", "a data URL that is not base64")
        return _from_base64(payload, places.most_bytes)
    if start.startswith(_URL):
        return places.fetch(text.strip())
    if len(text) > 100 and text.lstrip().startswith(BASE64_OF_IMAGES):
        return _from_base64(text, places.most_bytes)
    return places.read(text)


def _from_base64(text: str, most: int) -> bytes:
    if len(text) > most * 3 // 2:  # 4/3 is what base64 takes; the rest is for line ends
        raise ItemRejected("image_too_large", f"{len(text)} characters of base64")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ItemRejected("broken_image", f"base64: {error}") from None
