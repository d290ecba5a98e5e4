"""Images for pages: which formats are shown, and how a heavy one is made light."""

from __future__ import annotations

import base64
import io

IMAGE_SIDE = 640
"""Longer images are made smaller for a page that carries them, in pixels: it stays light."""
IMAGE_BYTES = 60_000
"""Images above this are encoded anew, as WebP."""
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
"""Formats that a dataset may hold (never SVG, which can carry scripts), and how they are announced."""


def light(kind: str, data: bytes, side: int = IMAGE_SIDE, most: int = IMAGE_BYTES) -> tuple[str, bytes]:
    """Format and bytes of an encoded image of a format of MEDIA_TYPES, made smaller where it is heavier than `most`."""
    if len(data) <= most:
        return kind, data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        image.convert("RGBA" if "A" in image.getbands() else "RGB").save(buffer, "WEBP", quality=80)
    return "webp", buffer.getvalue()


def data_uri(kind: str, data: bytes) -> str:
    """A light image as an address that carries it. Raises KeyError for a format that is not shown."""
    kind, data = light(kind, data)
    return f"data:{MEDIA_TYPES[kind]};base64,{base64.b64encode(data).decode()}"
