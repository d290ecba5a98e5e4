"""How alike two images and two questions are.

Images: a perceptual hash is what stays of an image when it is scaled, encoded anew or given a margin. A view is 256
bits: the signs, against their median, of the 16 x 16 lowest frequencies of the cosine transform of the image in 64 x 64
grey levels. This is the pHash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
(2010), four times as long: among diagrams, which are mostly white, 64 bits are too few (docs/screening.md says how far
apart 256 keep them). An image has two views, the whole and what is inside its plain margin, and two images are as far
apart as the nearer of the two views.

Questions: the Jaccard index of their sets of word triples, found among many by MinHash with locality-sensitive hashing
(A. Broder 1997; here by the library `rensa`), which names the candidates; what is decided is decided on the exact index
of the two sets, so an estimate never drops a question.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import PIL.Image

from mmpr_pipeline.core.errors import ItemRejected

BITS = 256
"""Bits of a view."""

VIEWS = 2
WORDS = BITS // 64
FLAT = 3.0
"""Standard deviation, in grey levels of 256, below which an image shows nothing that a hash could be made of."""

_SIDE, _FREQUENCIES = 64, 16
_READ_AT = 512
"""Pixels to which the longer side is brought near, by a whole factor: a photograph costs little more than an icon."""

_MARGIN_LEVELS = 24
"""Most that a margin's grey levels differ from the border's median; JPEG's ringing stays below."""

_MOST_MARGIN = 0.5
"""Share of a side beyond which what surrounds a figure is not its margin: there, where it stands says something."""

Hash = np.ndarray[Any, np.dtype[np.uint64]]
"""The views of one image: uint64 of shape (VIEWS, WORDS)."""


def perceptual_hash(data: bytes) -> Hash | None:
    """The hash of an encoded image; None where it is blank or nearly so: it could be any other blank one.

    Raises ItemRejected, `broken_image`, where it cannot be decoded.
    """
    grey = _grey(data)
    if grey.std() < FLAT:
        return None
    whole = _view(grey)
    # The part inside the plain margin; None where there is no margin, or so much that it is none.
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    drawn = np.abs(grey.astype(np.int16) - np.int16(np.median(border))) > _MARGIN_LEVELS
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        inside = None
    else:
        part = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        small = any(side < _MOST_MARGIN * whole for side, whole in zip(part.shape, grey.shape, strict=True))
        inside = None if small or part.shape == grey.shape else part
    found: Hash | None = np.stack([whole, whole if inside is None else _view(inside)])
    return found


def distances(one: Hash, many: np.ndarray) -> np.ndarray:
    """Bits in which an image differs from each of n others: uint16 (n,); `many` has shape (n, VIEWS, WORDS)."""
    if not len(many):
        return np.zeros(0, np.uint16)
    found: np.ndarray = np.bitwise_count(many ^ one).sum(axis=2, dtype=np.uint16).min(axis=1)
    return found


def _grey(data: bytes) -> np.ndarray:
    try:
        with PIL.Image.open(io.BytesIO(data)) as encoded:
            encoded.draft("L", (_READ_AT, _READ_AT))
            picture: PIL.Image.Image = encoded
            if "A" in picture.mode or "transparency" in picture.info:  # what is transparent is white, as models see it
                layer = picture.convert("RGBA")
                picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layer.size, "white"), layer)
            picture = picture.convert("L")
            found: np.ndarray = np.asarray(picture.reduce(max(1, max(picture.size) // _READ_AT)))
            return found
    except Exception as error:  # decoders raise whatever they like on hostile bytes
        raise ItemRejected("broken_image", f"{type(error).__name__}: {error}"[:200]) from None


def _view(grey: np.ndarray) -> np.ndarray:
    """uint64 of shape (WORDS,)."""
    picture = PIL.Image.fromarray(grey).resize((_SIDE, _SIDE), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    low = _COSINES @ np.asarray(picture, np.float64) @ _COSINES.T
    found: np.ndarray = np.packbits(low > np.median(low)).view(np.uint64)
    return found


_COSINES: np.ndarray = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * (2 * np.arange(_SIDE)[None] + 1) / (2 * _SIDE))
"""The first rows of the matrix of the type-II discrete cosine transform; (_FREQUENCIES, _SIDE)."""


# ---- questions

N = 3
"""Words of a shingle."""

PERMUTATIONS, BANDS, SEED = 64, 32, 1
"""With bands of two, a pair of index 0.5 is missed once in 10,000 times, one of 0.8 never."""

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[㐀-鿿぀-ヿ가-힯]|[^\W\d_]+")
_MARK = re.compile(r"<image>")
MOST_WORDS = 2_000
"""Words of a question that are looked at."""

Shingles = np.ndarray[Any, np.dtype[np.uint64]]
"""Sorted hashes of a text's shingles, each once."""


def split_words(text: str) -> list[str]:
    """Words and numbers in lower case, each Chinese, Japanese or Korean sign a word; signs and image marks are none."""
    found = _WORD.findall(_MARK.sub(" ", text[: MOST_WORDS * 20]).lower())
    return found[:MOST_WORDS]


def shingles(tokens: Sequence[str]) -> Shingles:
    """The set of triples of neighbouring words; of fewer words, the one tuple that they are; empty of none."""
    if not tokens:
        return np.zeros(0, np.uint64)
    size = min(N, len(tokens))
    tuples = {" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
    hashes = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in tuples)
    found: Shingles = np.sort(np.frombuffer(b"".join(hashes), np.uint64))
    return found


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared shingles over all shingles of the two, 0 to 1; 0 where either has none."""
    if not len(one) or not len(other):
        return 0.0
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


class SimilarQuestions:
    """Questions by number, to be asked which of them are like another."""

    def __init__(self, known: Iterable[Shingles]) -> None:
        from rensa import RMinHashLSH

        self._known = list(known)
        self._index = RMinHashLSH(0.5, PERMUTATIONS, BANDS)
        for number, one in enumerate(self._known):
            if len(one):
                self._index.insert(number, _signature(one))

    def like(self, one: Shingles, least: float) -> list[tuple[int, float]]:
        """Numbers and similarities of those at least so similar (0.5 and above are found surely), ascending."""
        if not len(one):
            return []
        near = ((number, jaccard(one, self._known[number])) for number in sorted(self._index.query(_signature(one))))
        return [(number, alike) for number, alike in near if alike >= least]


def _signature(one: Shingles) -> Any:
    from rensa import RMinHash

    sketch = RMinHash(PERMUTATIONS, SEED)
    raw = one.tobytes()
    sketch.update([raw[i : i + 8] for i in range(0, len(raw), 8)])
    return sketch
