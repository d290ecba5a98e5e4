"""Which sentences of a response conclude: those with a "so", and those that say what was asked over again.

Where a question asks for yes or no, its words said again are the answer: `The function is not convex.` to `Is the
function convex?`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from mmpr_pipeline.checking.finding.reply import split_sentences
from mmpr_pipeline.checking.reading.normalise import singular, tokens

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


# ---- yes or no

_AUXILIARY = "is|are|was|were|do|does|did|has|have|had|can|could|will|would"
_LEAD_IN = re.compile(
    r"^(?:(?:based on|according to|looking at|from|in|as (?:shown|seen) in|given|for|at)\b[^,?]{0,80}|yes|no), ",
    re.IGNORECASE,
)
_ASKS = re.compile(rf"(?:{_AUXILIARY})\b", re.IGNORECASE)
_LEFT_OUT = frozenset([*_AUXILIARY.split("|"), "the", "a", "an", "also", "indeed"])
_NEGATIONS = frozenset(["not", "no", "never", "cannot"])
_CLAUSE_END = re.compile(r"[,;]\s|\s(?:because|since|as it|which|and|but)\s")
_WORD = re.compile(r"[^\s,;:.!?\"()]+(?:\.\d+)?")


def restated_truth(sentences: Sequence[str], question: str) -> bool | None:
    """True or False where sentences say the words of a yes-or-no question again, in their order and with no word more.

    `not` and the like make it False. None where no sentence does so, two disagree, or the question denies or offers
    two things.
    """
    asked = _question_words(question[-1_000:])
    found = {truth for s in sentences if asked and (truth := _truth(s, asked)) is not None}
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=512)
def _question_words(question: str) -> tuple[str, ...]:
    last = [s for s in split_sentences(question) if s.endswith("?")][-1:]
    text = _LEAD_IN.sub("", last[0]) if last else ""
    if not _ASKS.match(text) or re.search(r"\bor\b", text):
        return ()
    words, denied = _words(text)
    return words if len(words) > 1 and not denied else ()


def _truth(sentence: str, asked: tuple[str, ...]) -> bool | None:
    if sentence.endswith("?"):
        return None
    text = _LEAD_IN.sub("", sentence)
    ends = [match.start() for match in _CLAUSE_END.finditer(text)]
    for part in (text, *(text[:end] for end in ends[:3])):
        words, denials = _words(part)
        if words == asked and denials < 2:
            return denials == 0
    return None


def _words(text: str) -> tuple[tuple[str, ...], int]:
    """The words that matter, in the singular, and how many negations stand among them."""
    found = [word.casefold() for word in _WORD.findall(re.sub(r"n['’]t\b", " not", text))]
    kept = [singular(word) for word in found if word not in _LEFT_OUT and word not in _NEGATIONS]
    return tuple(kept), sum(word in _NEGATIONS for word in found)
