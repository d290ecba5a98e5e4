"""Images for a model: where they go in chat messages, how they are decoded, and into how many tiles they may be cut.

InternVL cuts a large image into tiles of one size (448 px) and adds a thumbnail of the whole where there is more than
one. The original format and the transformers-native one name the setting differently; other models have no tiles, and
their own image processor decides.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Image

if TYPE_CHECKING:
    import PIL.Image


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


log = logging.getLogger(__name__)

MAX_TILES = 12
"""Most tiles of an image where nothing asks for more: the paper's number for OCR, documents and charts."""

MOST_TILES = 40
"""Most tiles that can be asked for: MMPR's own sources ask for 24."""

_ORIGINAL = {"InternVLChatModel", "InternVLForCausalLM"}
_NATIVE = {"InternVLForConditionalGeneration", "InternS1ForConditionalGeneration"}


def tile_settings(architecture: str | None, tiles: int, most: int = MAX_TILES) -> dict[str, int | bool]:
    """Image-processor settings for at most `tiles` tiles (never above `most`); empty for models without tiles."""
    if tiles > most and architecture in _ORIGINAL | _NATIVE:
        _tell_once(tiles, most)
    tiles = max(1, min(tiles, most))
    if architecture in _ORIGINAL:
        return {"max_dynamic_patch": tiles}
    if architecture in _NATIVE:
        return {"crop_to_patches": True, "min_patches": 1, "max_patches": tiles}
    return {}


@cache
def _tell_once(tiles: int, most: int) -> None:
    log.warning(
        "a source asks for up to %d tiles an image; here they are cut into at most %d (engine.most_tiles when sampling,"
        " max_tiles when training)",
        tiles,
        most,
    )
