r"""Multiple choice: which letters an answer names, in any dress, or which choice its words or value are.

`read_choice` looks at the beginning of a text where an answer is announced; `match_choice` compares with the gold.
Two letters named ("A and C") are a match only for a gold that has the same two; "A or B" names no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmpr_pipeline.checking.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.normalise import (
    blanks,
    fold,
    fold_diacritics,
    undressed,
    without_emphasis,
    without_spacing_commands,
    without_text_commands,
)

MOST_CHOICES = 26
_CIRCLED = {chr(0x2460 + i): i for i in range(10)} | {chr(0x24B6 + i): i for i in range(26)}
_ROMAN = {"I": 0, "II": 1, "III": 2, "IV": 3, "V": 4, "VI": 5, "VII": 6, "VIII": 7, "IX": 8, "X": 9}

_NOUN = r"(?:(?:the |an? |my )?(?:correct |right )?(?:options?|choices?|answers?|letters?|statements?|item|figure|选项|选择|选)[ ]?:?[ ]{0,2})?"
_LABEL = re.compile(
    _NOUN + r"(?:[(\[{<][ ]?(?P<inside>[A-Za-z]|[IVX]{1,4})[ ]?[)\]}>]|(?P<roman>[IVX]{2,4})(?![A-Za-z0-9])"
    r"|(?P<bare>[A-Z])(?![A-Za-z0-9'^_])(?P<close>[ ]?[).:](?![0-9A-Za-z])|[ ]?[)](?=[0-9A-Za-z]))?|(?P<lower>[a-z])[)](?![0-9])|(?P<circled>[①-⑩Ⓐ-Ⓩ]))",
    re.IGNORECASE,
)
_MANY = re.compile(_NOUN + r"(?P<many>[A-J]{2,8})(?![A-Za-z0-9])")
_AND = re.compile(r"[ ]?(?:,[ ]?(?:and|&)?|;|&|and\b|和|及|与|/|\+)[ ]?(?=\S)", re.IGNORECASE)
_OR = re.compile(r"[ ,]{0,3}(?:or\b|或者?|还是)[ ]{0,2}", re.IGNORECASE)
_WRONG_AFTER = re.compile(
    r"^[^\n.;!?]{0,60}?(?:\b(?:is|are|seems?|would be) (?:not|wrong|incorrect|false|excluded|eliminated|ruled|out|invalid)\b"
    r"|\bisn't\b|\bcan(?:not| ?not|'t) be\b|错误|不正确|不符合|不对|不合|排除|有误)",
    re.IGNORECASE,
)
_ARTICLE_FOLLOWS = re.compile(r"^ (?!is\b|are\b|because\b|since\b|as\b|which\b|with\b|and\b|or\b|-|:|\(|\[|,|=)[a-z]")
_TRIM = " \t$\\({[*\"'`:=-"


@dataclass(frozen=True, slots=True)
class Choice:
    """Letters named, e.g. `B` or `AC`; `by` says how: letter, text or value; `hedged` if alternatives are offered."""

    letters: str
    by: str
    hedged: bool = False
    rest: str = ""


def read_letters(text: str, count: int) -> Choice | None:
    """Letters named at the beginning of `text`, among `count` choices (0: not known); None if it starts otherwise."""
    text = (
        without_text_commands(without_spacing_commands(text[:400]))
        .replace("$", "")
        .replace("{}", "")
        .lstrip(" \n\t:*\"'`-=,")
    )
    limit = count or 10
    many = _MANY.match(text)
    if many and _is_set(many["many"], limit):
        return Choice(many["many"], "letter", rest=text[many.end() :])
    found: list[str] = []
    position, hedged = 0, False
    while len(found) < MOST_CHOICES:
        match = _LABEL.match(text, position)
        letter = _letter(match, text, limit, first=not found) if match else None
        if match is None or letter is None:
            break
        found.append(letter)
        end = position = match.end()
        joiner = _OR.match(text, position) or _AND.match(text, position)
        if joiner is None:
            break
        after = _LABEL.match(text, joiner.end())
        if after is None or _letter(after, text, limit, first=False) is None:
            break
        hedged = hedged or _OR.match(text, position) is not None
        position = joiner.end()
    if not found:
        return None
    rest = text[end:]
    if _WRONG_AFTER.match(rest):
        return None
    letters = "".join(sorted(set(found)))
    return Choice(letters, "letter", hedged=hedged, rest=rest)


def _letter(match: re.Match[str], text: str, limit: int, *, first: bool) -> str | None:
    if match["circled"]:
        index = _CIRCLED.get(match["circled"])
    elif match["roman"]:
        index = _ROMAN.get(match["roman"]) if match["roman"].isupper() else None
    else:
        index = _single(match, text, limit)
    return chr(65 + index) if index is not None and index < limit else None


def _single(match: re.Match[str], text: str, limit: int) -> int | None:
    token = match["inside"] or match["bare"] or match["lower"]
    noun = match.start(match.lastgroup or 0) > match.start() + 1 and match["inside"] is None
    if match["bare"]:
        if token.islower() and not (noun or match["close"] or match.end() == len(text.rstrip())):
            return None
        if token in "Aa" and not noun and not match["close"] and _ARTICLE_FOLLOWS.match(text[match.end() :]):
            return None
        if token == "I" and not match["close"] and text[match.end() :].lstrip()[:1].islower():
            return None
    index = ord(token.upper()) - 65 if len(token) == 1 else -1
    if 0 <= index < limit:
        return index
    return _ROMAN.get(token) if token in _ROMAN else None


def _is_set(letters: str, limit: int) -> bool:
    return all(a < b for a, b in zip(letters, letters[1:], strict=False)) and ord(letters[-1]) - 65 < limit


# ---- by the words or the value of a choice


_DEGREES = re.compile(r"\^?\{?\\circ\}?|°| ?degrees?\b|度")
_KEEP = re.compile(r"[^\w\s.+\-*/^=<>%$#&@(),{}\[\]√πθ∠°:|'\\]+")
_ARTICLES = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """A choice's text as compared: undressed, case-folded, one blank between words, degrees as one sign."""
    text = undressed(without_spacing_commands(text).replace("~", " ")).casefold()
    text = (
        _DEGREES.sub("°", text)
        .replace("\\%", "%")
        .replace("^{2}", "²")
        .replace("^2", "²")
        .replace("^{3}", "³")
        .replace("{", "")
        .replace("}", "")
        .replace("\\dfrac", "\\frac")
    )
    text = fold_diacritics(_KEEP.sub(" ", text).replace("$", ""))
    return _ARTICLES.sub("", blanks(text).rstrip(".,;: "))


@lru_cache(maxsize=4096)
def value_of(text: str) -> float | None:
    """The value of a choice that is a plain number, sign and a unit of its own aside; None for anything else."""
    match = re.fullmatch(r"([+-]?\d{1,12}(?:,\d{3}){0,4}(?:\.\d{1,12})?) ?([a-z%°]{0,6}[23²³]?)", canonical(text))
    return float(match[1].replace(",", "")) if match else None


def read_by_text(text: str, choices: Sequence[str]) -> Choice | None:
    """The one choice that `text` is, by its words or its value; None if it is none of them, or two."""
    if not choices:
        return None
    wanted = canonical(text[:800])
    if not wanted:
        return None
    texts = [canonical(choice) for choice in choices]
    same = [
        i for i, choice in enumerate(texts) if choice == wanted or choice.replace(" ", "") == wanted.replace(" ", "")
    ]
    if len(same) == 1:
        return Choice(chr(65 + same[0]), "text")
    if same:
        return None
    value = value_of(text)
    values = [value_of(choice) for choice in choices]
    equal = [i for i, v in enumerate(values) if v is not None and v == value]
    if value is not None and len(equal) == 1 and _same_unit(wanted, texts[equal[0]]):
        return Choice(chr(65 + equal[0]), "value")
    return None


def _same_unit(a: str, b: str) -> bool:
    unit_a, unit_b = re.sub(r"^[^a-z%°]*", "", a), re.sub(r"^[^a-z%°]*", "", b)
    return not unit_a or not unit_b or unit_a == unit_b


def mentions(text: str, choices: Sequence[str]) -> list[int]:
    """Indices of the choices whose words stand in `text`; a longer choice hides a shorter one inside it."""
    space = f" {_words(text[:4000])} "
    found = []
    for index in sorted(range(len(choices)), key=lambda i: -len(choices[i])):
        needle = f" {_words(choices[index])} "
        if len(needle) > 3 or needle.strip().isdigit():
            if needle in space:
                found.append(index)
                space = space.replace(needle, " \x00 ")
    return sorted(found)


@lru_cache(maxsize=8192)
def _words(text: str) -> str:
    flat = canonical(text)
    flat = re.sub(r"(?<![\d])[.,]|[.,](?!\d)|[:()\"!?;'\[\]]", " ", flat)
    return " ".join(word for word in flat.split() if word not in ("a", "an", "the"))


# ---- choices that stand in the question


_INLINE = re.compile(
    r"(?:^|[\s(（)）;；,，.。?？])[(\[（]?([A-H])[)\]）]?[ ]?[.．、)）:：][ ]{0,4}(?=\S)|(?:^|\s)[(（]([A-H])[)）][ ]{0,4}(?=\S)"
)


@lru_cache(maxsize=512)
def choices_in(question: str) -> tuple[str, ...]:
    """Texts of choices A, B, C, ... written into a question; empty unless they come in order and there are two."""
    text = question[-6_000:]
    marks = [(m.group(1) or m.group(2), m.start(), m.end()) for m in _INLINE.finditer(text)]
    run: list[tuple[int, int]] = []
    for letter, start, end in marks:
        if letter == "A":
            run = [(start, end)]
        elif run and ord(letter) - 65 == len(run):
            run.append((start, end))
    if len(run) < 2:
        return ()
    stops = [start for start, _ in run[1:]] + [len(text)]
    return tuple(blanks(text[end:stop])[:400] for (_, end), stop in zip(run, stops, strict=True))


# ---- against the gold


def gold_letters(gold: str, choices: Sequence[str]) -> tuple[str, ...]:
    """What would be right, for a gold given as a letter, as several, or as the text of a choice; empty if neither.

    More than one where choices repeat: `18` among 9, 12, 18, 18 is C and is D.
    """
    text = undressed(gold)
    same = tuple(chr(65 + i) for i, choice in enumerate(choices) if canonical(choice) == canonical(text))
    if same:
        return same
    by_value = read_by_text(text, choices)
    if by_value is not None:
        return (by_value.letters,)
    named = read_letters(text, len(choices))
    if named is not None and not named.hedged:
        if not any(c.isalnum() for c in named.rest) or read_by_text(named.rest, choices) is not None:
            return (named.letters,)
    if _SPACED_LETTERS.fullmatch(text):
        return ("".join(sorted(set(re.findall(r"[A-Z]", text)))),)
    return ()


_SPACED_LETTERS = re.compile(r"[A-Z](?:(?:[\s,;/&]|and){1,5}[A-Z]){1,9}")


def read_choice(text: str, choices: Sequence[str]) -> Choice | None:
    """The choice that a text names at its beginning: a letter, or the words or value of one choice."""
    whole = read_by_text(text, choices)
    named = read_letters(fold(without_emphasis(text)), len(choices))
    if named is None:
        return whole
    if whole is not None and len(choices) and whole.by == "text" and canonical(choices[ord(whole.letters) - 65]) != "":
        return whole if _is_label_free(text) else named
    return named


def _is_label_free(text: str) -> bool:
    return len(canonical(text)) > 2


def contradicts(choice: Choice, choices: Sequence[str]) -> bool:
    """True if a letter is followed by exactly the text of another choice: `(B) yes` where yes is A."""
    if len(choice.letters) != 1 or not choices or not choice.rest:
        return False
    rest = re.split(r"[\n.;]\s|\n", choice.rest.lstrip(" .):,-(*"), maxsplit=1)[0].strip(" ).,*")
    own = choices[ord(choice.letters) - 65]
    if value_of(rest) is not None and value_of(own) is not None:
        return value_of(rest) != value_of(own)
    other = read_by_text(rest, choices)
    return other is not None and other.by == "text" and other.letters != choice.letters


def match_choice(named: Choice | None, gold: str, choices: Sequence[str]) -> Match:
    """Compare letters named with the gold's; a hedge is never a match."""
    wanted = gold_letters(gold, choices)
    if not wanted:
        return unparseable("choice_gold_unknown", gold[:80])
    if named is None:
        return unparseable("choice_none_named")
    if named.hedged:
        return unparseable("choice_hedged", named.letters)
    if contradicts(named, choices):
        return unparseable("choice_letter_against_text", named.letters)
    rule = f"choice_{named.by}"
    return correct(rule) if named.letters in wanted else incorrect(rule, f"{named.letters} != {'/'.join(wanted)}")
