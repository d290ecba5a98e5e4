"""How a model is told how many tiles it may cut an image into.

InternVL cuts a large image into tiles of one size (448 px) and adds a thumbnail of the whole where there is more than
one. The original format and the transformers-native one name the setting differently; other models have no tiles, and
their own image processor decides.
"""

from __future__ import annotations

from typing import Any

MAX_TILES = 12
"""Most tiles of any question: the paper's number for OCR, documents and charts; engines plan their memory for it."""

_ORIGINAL = {"InternVLChatModel", "InternVLForCausalLM"}
_NATIVE = {"InternVLForConditionalGeneration", "InternS1ForConditionalGeneration"}


def tile_settings(architecture: str | None, tiles: int, most: int = MAX_TILES) -> dict[str, Any]:
    """Image-processor settings for at most `tiles` tiles (never above `most`); empty for models without tiles."""
    tiles = max(1, min(tiles, most))
    if architecture in _ORIGINAL:
        return {"max_dynamic_patch": tiles}
    if architecture in _NATIVE:
        return {"crop_to_patches": True, "min_patches": 1, "max_patches": tiles}
    return {}
