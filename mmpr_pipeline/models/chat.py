"""Images in chat messages: where they go, and how they are decoded."""

from __future__ import annotations

import io
from collections.abc import Callable

import PIL.Image

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Image


def decode_image(image: Image) -> PIL.Image.Image:
    """The picture; it was checked and bounded when it was read from its source. Raises ItemRejected if it is not."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(image.data)) as opened:
            return opened.convert("RGB")
    except Exception as error:  # decoders raise whatever they like on bytes that are not what they were
        raise ItemRejected("broken_image", str(error)[:200]) from None


def interleaved(pieces: list[str], images: list[dict[str, object]]) -> list[dict[str, object]]:
    """Content parts in order. A line break after a mark belongs to the mark: templates set their own around images."""
    parts: list[dict[str, object]] = []
    for i, piece in enumerate(pieces):
        if i > 0:
            parts.append(images[i - 1])
            piece = piece.removeprefix("\n")
        if piece:
            parts.append({"type": "text", "text": piece})
    return parts


def marked(pieces: list[str], mark_of: Callable[[int], str]) -> dict[str, object]:
    """One text with the model's own mark for each image."""
    text = pieces[0] + "".join(mark_of(i) + piece for i, piece in enumerate(pieces[1:]))
    return {"type": "text", "text": text}
