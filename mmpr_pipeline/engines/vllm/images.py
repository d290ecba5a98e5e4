"""Decoded images, kept for later rounds: vLLM has their tiles in its cache, and asks for the images all the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from mmpr_pipeline.core.records import Image
from mmpr_pipeline.models.chat import decode_image

if TYPE_CHECKING:
    import PIL.Image

MOST_PIXELS = 64_000_000
"""Pixels that are kept, at three bytes each: about 300 images of 448 x 448."""


class DecodedImages:
    """The images that were asked for last, by their sha256; may be used from several threads."""

    def __init__(self, most_pixels: int = MOST_PIXELS) -> None:
        self._most = most_pixels
        self._kept: OrderedDict[str, PIL.Image.Image] = OrderedDict()
        self._pixels = 0
        self._lock = threading.Lock()

    def get(self, image: Image) -> PIL.Image.Image:
        """The decoded image; raises ItemRejected where it cannot be decoded."""
        with self._lock:
            if image.sha256 in self._kept:
                self._kept.move_to_end(image.sha256)
                return self._kept[image.sha256]
        decoded = decode_image(image)
        with self._lock:
            if image.sha256 not in self._kept:
                self._kept[image.sha256] = decoded
                self._pixels += decoded.width * decoded.height
            while self._pixels > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._pixels -= oldest.width * oldest.height
        return decoded
