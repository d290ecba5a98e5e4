"""Images of rows, and how large one may be."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PIXELS = 50_000_000
"""Most pixels of an image: 150 MB once decoded; the largest photographs in use are about this size."""

MAX_BYTES = 20_000_000
"""Most bytes of an encoded image."""


@dataclass(frozen=True)
class ImageLimits:
    """Most pixels and most bytes of an image of one source."""

    pixels: int = MAX_PIXELS
    bytes: int = MAX_BYTES


USUAL = ImageLimits()
