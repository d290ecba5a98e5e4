r"""Multiple choice: which choice an answer names by its letter, its words or its value, and whether that is the gold.

Two letters named ("A and C") are a match only for a gold that has the same two; "A or B" names no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmpr_pipeline.checking.reading.letters import UNKNOWN_COUNT, read_letters
from mmpr_pipeline.checking.reading.normalise import (
    fold_diacritics,
    fold_width,
    undressed,
    without_emphasis,
    without_spacing_commands,
)
from mmpr_pipeline.checking.reading.quantity import read_quantity


@dataclass(frozen=True, slots=True)
class Choice:
    """Letters named, e.g. `B` or `AC`; `by` says how: letter, text, value or mention; `rest` is what followed."""

    letters: str
    by: str
    hedged: bool = False
    rest: str = ""

    @property
    def index(self) -> int:
        """Place of the first letter in the alphabet."""
        return ord(self.letters[0]) - 65


def by_index(index: int, by: str) -> Choice:
    """The choice of a place in the list."""
    return Choice(chr(65 + index), by)


# ---- by the words or the value of a choice


_DEGREES = re.compile(r"\^?\{?\\circ\}?|°| ?degrees?\b|度")
_IGNORED = re.compile(r"[^\w\s.+\-*/^=<>%$#&@(),{}\[\]√πθ∠°:|'\\²³]+")
_ARTICLES = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_SAME_SIGN = (
    ("\\%", "%"),
    ("^{2}", "²"),
    ("^2", "²"),
    ("^{3}", "³"),
    ("^3", "³"),
    ("{", ""),
    ("}", ""),
    ("\\dfrac", "\\frac"),
)


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """A choice's text as compared: undressed, case-folded, one blank between words, degrees as one sign."""
    text = undressed(without_spacing_commands(text).replace("~", " ")).casefold()
    if "circ" in text or "degree" in text or "°" in text or "度" in text:
        text = _DEGREES.sub("°", text)
    if not text.replace(" ", "").isalnum():
        for written, sign in _SAME_SIGN:
            text = text.replace(written, sign)
        text = _IGNORED.sub(" ", text).replace("$", "")
    text = fold_diacritics(text)
    return _ARTICLES.sub("", " ".join(text.split()).rstrip(".,;: "))


@lru_cache(maxsize=4096)
def choice_value(text: str) -> float | None:
    """The value of a choice that is a plain number, sign and a unit of its own aside; None for anything else."""
    read = read_quantity(canonical(text))
    if read is None or not read.digits or read.zeros or read.comma or len(read.unit) > 7 or " " in read.unit:
        return None
    return float(read.value)


def read_by_text(text: str, choices: Sequence[str]) -> Choice | None:
    """The one choice that `text` is, by its words or its value; None if it is none of them, or two."""
    wanted = canonical(text[:800]) if choices else ""
    if not wanted:
        return None
    texts = [canonical(choice) for choice in choices]
    same = [i for i, own in enumerate(texts) if own == wanted or own.replace(" ", "") == wanted.replace(" ", "")]
    if same:
        return by_index(same[0], "text") if len(same) == 1 else None
    value = choice_value(text)
    if value is None:
        return None
    equal = [i for i, choice in enumerate(choices) if choice_value(choice) == value]
    if len(equal) != 1:
        return None
    unit, own_unit = (re.sub(r"^[^a-z%°]*", "", side) for side in (wanted, texts[equal[0]]))
    return by_index(equal[0], "value") if not unit or not own_unit or unit == own_unit else None


def mentions(text: str, choices: Sequence[str]) -> list[int]:
    """Indices of the choices whose words stand in `text`; a longer choice hides a shorter one inside it."""
    space = f" {_words(text[:4000])} "
    found = []
    for index in sorted(range(len(choices)), key=lambda i: -len(choices[i])):
        needle = f" {_words(choices[index])} "
        if (len(needle) > 3 or needle.strip().isdigit()) and needle in space:
            found.append(index)
            space = space.replace(needle, " \x00 ")
    return sorted(found)


@lru_cache(maxsize=8192)
def _words(text: str) -> str:
    bare = _ARTICLE.sub(" ", text)
    return " ".join(_MARK.sub(" ", canonical(bare)).split())


_MARK = re.compile(r"(?<!\d)[.,]|[.,](?!\d)|[:()\"!?;'\[\]]|(?<=[a-z])-(?=[a-z])")


_ARTICLE = re.compile(r"(?<!\S)(?:a|an|the|An|The)(?!\S)")
"""Not `A`, which is a label: `Solution A`."""


# ---- choices that stand in the question


_INLINE = re.compile(
    r"(?:^|[\s()）;；,，.。?？])[(\[（]?([A-H])[)\]）]?[ ]?[.．、)）:：][ ]{0,4}(?=\S)"
    r"|(?:^|\s)[(（]([A-H])[)）][ ]{0,4}(?=\S)"
)


@lru_cache(maxsize=512)
def choices_in(question: str) -> tuple[str, ...]:
    """Texts of choices A, B, C, ... written into a question; empty unless they come in order and there are two."""
    text = question[-6_000:]
    run: list[tuple[int, int]] = []
    for mark in _INLINE.finditer(text):
        letter = mark.group(1) or mark.group(2)
        if letter == "A":
            run = [mark.span()]
        elif run and ord(letter) - 65 == len(run):
            run.append(mark.span())
    if len(run) < 2:
        return ()
    stops = [start for start, _ in run[1:]] + [len(text)]
    return tuple(" ".join(text[end:stop].split())[:400] for (_, end), stop in zip(run, stops, strict=True))


# ---- what an answer names


def read_choice(text: str, choices: Sequence[str]) -> Choice | None:
    """The choice that a text names at its beginning: a letter, or the words or value of one choice."""
    if len(text) < 4 and _ALONE.fullmatch(text) and not _has_letters(tuple(choices)):
        letter = text.strip("()")
        if ord(letter) - 65 < (len(choices) or UNKNOWN_COUNT):
            return Choice(letter, "letter")
    whole = read_by_text(text, choices)
    if whole is not None and whole.by == "text" and len(canonical(text).strip("()")) > 1:
        return whole
    named = read_letters(fold_width(without_emphasis(text)), len(choices))
    if (
        named is not None
        and whole is not None
        and len(canonical(text).strip("()")) == 1
        and whole.letters != named.letters
    ):
        return Choice(named.letters, "letter", hedged=True)  # the choices are letters in another order
    if named is not None and _CIRCLED.match(text.strip()) and any(_CIRCLED.search(choice) for choice in choices):
        return whole  # the circled numbers are statements that the choices are about
    if named is None:
        return whole
    if (named.loose or named.denied) and not begins_with_own_text(named.rest, named.letters, choices):
        return None if named.denied else whole
    return Choice(named.letters, "letter", named.hedged, named.rest)


_ALONE = re.compile(r"[A-H]|\([A-H]\)")
"""Most answers there are: a letter and nothing else."""


@lru_cache(maxsize=1_024)
def _has_letters(choices: tuple[str, ...]) -> bool:
    """True where the text of a choice is a letter itself."""
    return any(len(canonical(choice).strip("()")) <= 1 for choice in choices)


_CIRCLED = re.compile("[①-⑩]")


def begins_with_own_text(rest: str, letters: str, choices: Sequence[str]) -> bool:
    """True if what follows a letter is the text of its choice."""
    index = ord(letters[-1]) - 65
    own = canonical(choices[index]) if index < len(choices) else ""
    return bool(own) and _words(rest).startswith(_words(own))


_AFTER_LETTER = re.compile(r"^(?:[ .):,(*]|-(?!\d))+")
"""`C) -1.4 km` keeps its sign; `C - 1.4 km` has none."""


def contradicts(choice: Choice, choices: Sequence[str]) -> bool:
    """True if a letter is followed by another choice's text, or by another number than its own."""
    if len(choice.letters) != 1 or not choices or not choice.rest or choice.by != "letter":
        return False
    bare = _AFTER_LETTER.sub("", choice.rest)
    rest = re.split(r"[\n.;]\s|\n", bare, maxsplit=1)[0].strip(" ).,*")
    own = choice_value(choices[choice.index])
    result = choice_value(rest.rpartition("=")[2])
    if result is not None and own is not None:
        return result != own
    others = (read_by_text(part, choices) for part in (rest, rest.partition(",")[0]))
    return any(other is not None and other.by == "text" and other.letters != choice.letters for other in others)


# ---- against the gold


_LISTED_LETTERS = re.compile(r"\[\s?(?:[\"']?[A-Z][\"']?\s?,?\s?){1,26}\]")


def gold_letters(gold: str, choices: Sequence[str]) -> tuple[str, ...]:
    """What would be right, for a gold given as a letter, as several, or as the text of a choice; empty if neither.

    More than one where choices repeat: `18` among 9, 12, 18, 18 is C and is D.
    """
    return _gold_letters(gold, tuple(choices))


@lru_cache(maxsize=2_048)
def _gold_letters(gold: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    text = undressed(gold)
    listed = _LISTED_LETTERS.fullmatch(text)
    if listed:
        return ("".join(sorted(set(re.findall("[A-Z]", text)))),)
    same = tuple(
        chr(65 + i)
        for i, choice in enumerate(choices)
        if canonical(choice) == canonical(text) and (len(text) > 1 or choice.strip() == text)
    )
    if same:
        return same
    if len(text) == 1 and "A" <= text < chr(65 + len(choices)):  # a label, though another choice may be a small `b`
        return (text,)
    by_value = read_by_text(text, choices)
    if by_value is not None:
        return (by_value.letters,)
    named = read_letters(text, len(choices))
    if named is None or named.hedged or named.denied:
        return ()
    alone = not any(c.isalnum() for c in named.rest)
    return (named.letters,) if alone or read_by_text(named.rest, choices) is not None else ()
