"""From what a row refers to an image by (bytes, a struct of bytes and path, base64, a data URL, a URL, or a path) to a
`records.Image`: checked, bounded, upright, of a mode that any reader knows.

A path leads below a folder or into an archive, and never out of it: not by `..`, not by being absolute, not by a
symbolic link. What a URL may lead to is said in `web`.

Size is looked at before anything is decoded, so that a header that claims 50,000 x 50,000 pixels costs nothing. An
image that is already an upright RGB or grey JPEG, PNG or WebP keeps its own bytes; any other is written anew as PNG.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Image
from mmpr_pipeline.sources.files.hub import HubImages
from mmpr_pipeline.sources.images import MAX_BYTES, USUAL, ImageLimits
from mmpr_pipeline.sources.images.archives import ImageArchives
from mmpr_pipeline.sources.images.web import WebImages

_URL = ("http://", "https://", "ftp://", "s3://", "gs://", "hf://", "file://")
BASE64_OF_IMAGES = ("/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD", "Qk", "SUkq", "TU0AK", "PHN2Zy", "PD94bWw")

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_SCANS = 64
"""Most scans of a JPEG: progressive ones have about ten, and each, though empty, costs a pass over all pixels."""

_SCAN = b"\xff\xda"
_KEPT = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp"}
_KEPT_MODES = ("RGB", "L")
_ORIENTATION = 0x0112


def load_image(raw: bytes, limits: ImageLimits = USUAL) -> Image:
    """The image in `raw`, fully decoded once to be sure of it.

    Raises ItemRejected: `image_too_large` (bytes or pixels), `too_many_scans`, `image_format` (SVG and others that are
    not read) or `broken_image`.
    """
    if not raw:
        raise ItemRejected("broken_image", "no bytes")
    if len(raw) > limits.bytes:
        raise ItemRejected("image_too_large", f"{len(raw)} bytes, at most {limits.bytes}")
    # Within the data of a scan this pair of bytes does not occur; in a thumbnail or a profile it may, now and then.
    if raw.startswith(b"\xff\xd8") and (scans := raw.count(_SCAN)) > MAX_SCANS:
        raise ItemRejected("too_many_scans", f"{scans} scans of a JPEG, at most {MAX_SCANS}")
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP" and len(raw) >= 30:
        _refuse_large_webp(raw, limits.pixels)
    if PIL.Image.MAX_IMAGE_PIXELS is not None and limits.pixels > PIL.Image.MAX_IMAGE_PIXELS:
        PIL.Image.MAX_IMAGE_PIXELS = limits.pixels  # Pillow's own limit holds for the process; ours is for each image
    try:
        opened = PIL.Image.open(io.BytesIO(raw), formats=READABLE)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise ItemRejected("image_too_large", f"more than {limits.pixels} pixels") from None
    except PIL.UnidentifiedImageError:
        if raw.startswith(b"version https://git-lfs"):
            raise ItemRejected("missing_image", "a pointer of Git LFS stands in its place: `git lfs pull`") from None
        if named := _format_by_name(raw):
            raise ItemRejected("image_format", named) from None
        raise ItemRejected("broken_image", "not an image that can be read") from None
    except Exception as error:
        raise ItemRejected("broken_image", _seen(error)) from None
    with opened as picture:
        _refuse_large(*picture.size, limits.pixels)
        try:
            return _checked(picture, raw)
        except ItemRejected:
            raise
        except Exception as error:  # decoders raise whatever they like on hostile bytes
            raise ItemRejected("broken_image", _seen(error)) from None


def decode(image: Image) -> PIL.Image.Image:
    """The pixels of a checked image, RGB."""
    with PIL.Image.open(io.BytesIO(image.data)) as picture:
        return picture.convert("RGB")


def encode_png(picture: PIL.Image.Image) -> bytes:
    """A picture as PNG file, without metadata."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _checked(picture: PIL.Image.Image, raw: bytes) -> Image:
    kept = _KEPT.get(picture.format or "")
    if picture.format == "PNG":
        # Pillow decodes a PNG without looking at its checksums; a flipped byte would pass for pixels.
        with PIL.Image.open(io.BytesIO(raw), formats=("PNG",)) as checked:
            checked.verify()
    plain = picture.mode in _KEPT_MODES and "transparency" not in picture.info
    # One frame; an MPO is a JPEG photograph that carries previews, which readers pass over.
    single = picture.format == "MPO" or getattr(picture, "n_frames", 1) == 1
    if kept and plain and single and _orientation(picture) == 1:
        data, format, size = raw, kept, picture.size
        picture.draft("L", (1, 1))  # JPEG: reads every coefficient all the same, but computes an eighth of the pixels
        picture.load()
    else:
        picture.load()
        if _orientation(picture) != 1:
            picture = PIL.ImageOps.exif_transpose(picture)
        upright = to_rgb(picture)
        data, format, size = encode_png(upright), "png", upright.size
    return Image(sha256=hashlib.sha256(data).hexdigest(), data=data, format=format, width=size[0], height=size[1])


def to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Any mode as RGB; what is transparent becomes white, 16 bits become 8 by dropping the lower ones."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        highest = int(values.max())
        shift = 0 if highest < 256 and picture.mode == "I" else max(highest.bit_length() - 16, 0) + 8
        picture = PIL.Image.fromarray((values.clip(0) >> shift).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", layer.size, "white")
        return PIL.Image.alpha_composite(white, layer).convert("RGB")
    if picture.mode == "F":
        raise ItemRejected("image_format", "floating-point pixels")
    return picture.convert("RGB")


def _orientation(picture: PIL.Image.Image) -> int:
    try:
        orientation = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF says nothing of the pixels
        return 1
    return orientation if 2 <= orientation <= 8 else 1


def _refuse_large(width: int, height: int, most: int) -> None:
    if width < 1 or height < 1:
        raise ItemRejected("broken_image", f"{width} x {height} pixels")
    if width * height > most:
        raise ItemRejected("image_too_large", f"{width} x {height} pixels, at most {most} in all")


def _refuse_large_webp(raw: bytes, most: int) -> None:
    """Pillow allocates a WebP's whole canvas when it opens the file, so its header is read here first."""
    kind = raw[12:16]
    if kind == b"VP8X":
        _refuse_large(1 + int.from_bytes(raw[24:27], "little"), 1 + int.from_bytes(raw[27:30], "little"), most)
    elif kind == b"VP8L":
        bits = int.from_bytes(raw[21:25], "little")
        _refuse_large(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), most)
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(raw[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        _refuse_large(width, height, most)


def _format_by_name(raw: bytes) -> str | None:
    head = raw[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        return "svg" if b"svg" in raw[:4096].lower() else "xml"
    if head.startswith((b"<!doctype html", b"<html")):
        return "html"
    signs = {b"%PDF": "pdf", b"%!PS": "postscript", b"\x00\x00\x01\x00": "ico", b"8BPS": "psd"}
    if raw[4:8] == b"ftyp":
        return raw[8:12].decode("ascii", "replace").strip() + " (HEIF, AVIF or video)"
    return next((name for sign, name in signs.items() if raw.startswith(sign)), None)


def _seen(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


# ---- what a row's reference means


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
