"""How alike two questions are: the Jaccard index of their sets of word triples, found among many by MinHash.

MinHash with locality-sensitive hashing (A. Broder 1997; here by the library `rensa`) names the candidates; what is
decided is decided on the exact index of the two sets, so an estimate never drops a question.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

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
    return np.sort(np.frombuffer(b"".join(hashes), np.uint64))


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
