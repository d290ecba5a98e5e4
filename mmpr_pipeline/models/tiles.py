"""How a model is told how many tiles it may cut an image into.

InternVL cuts a large image into tiles of one size (448 px) and adds a thumbnail of the whole where there is more than
one. The original format and the transformers-native one name the setting differently; other models have no tiles, and
their own image processor decides.
"""

from __future__ import annotations

import logging
from functools import cache

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
