"""Which sentences of a response conclude: those with a "so", and those that say what was asked over again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from mmpr_pipeline.checking.finding.prose.sentences import split_sentences
from mmpr_pipeline.checking.reading.text import tokens
from mmpr_pipeline.checking.reading.words import singular

CUE = re.compile(
    r"^\W{0,3}(?:therefore|round(?:ed|ing)|thus|hence|so|consequently|in (?:conclusion|summary|total)|finally"
    r"|overall|as a result"
    r"|accordingly|因此|所以|综上|故|于是|总之)(?![A-Za-z])",
    re.IGNORECASE,
)


def restating(sentences: Sequence[str], question: str) -> list[str]:
    """Sentences that hold most of the content words of the question's last sentence, the closest ones."""
    words = _asked(question)
    if len(words) < 2:
        return []
    scored = [(len(words & {singular(w) for w in tokens(s)}) / len(words), s) for s in sentences]
    best = max((score for score, _ in scored), default=0.0)
    return [s for score, s in scored if score == best] if best >= 0.6 else []


@lru_cache(maxsize=512)
def _asked(question: str) -> frozenset[str]:
    parts = [s for s in split_sentences(question) if len(tokens(s)) > 2]
    asked = tokens(parts[-1]) if parts else ()
    return frozenset(singular(w) for w in asked if len(w) > 2 and w not in _ASKING)


_ASKING = frozenset(
    """what which when where who how many much does did has have had was were are the and for all its can will would
    this that these those there from with into answer image following figure shown""".split()  # noqa: SIM905
)
