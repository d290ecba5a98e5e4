"""Choices, however a source nests them, and the letter that a gold of it means. Pure."""

from __future__ import annotations

import contextlib
import math
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.rows.columns import MAX_LITERAL, cell_text, literal, without_marks

LETTERS = string.ascii_uppercase

_FULL_WIDTH = {ord(letter) + 0xFEE0: letter for letter in string.ascii_letters}
"""`Ｂ` as `B`, each in its place."""

_LETTER = re.compile(r"\s*[(\[（]?\s*([A-Za-z])\s*[)\]）.:：、．]?\s*")
_JOINED = re.compile(r"\s*[(\[（]?\s*(A?B?C?D?E?F?G?H?I?J?)\s*[)\]）]?\s*")
"""Letters of several choices written as one word, in their order."""

_SEVERAL = re.compile(r"[,;，、；/&|]|(?<=[A-Z])\s+and\s+(?=[A-Z])|[()\[\]（）]")
_LETTERED = re.compile(r"\s*[(\[（]?\s*([A-Za-z])\s*[)\]）.:：、．]\s*(?=\S)")
_LISTED = re.compile(r"(?:(?<=\s)|(?<=[;,；，])|^)[(\[（]?([A-Z])[)\]）.:：、．]\s*(?=\S)", re.IGNORECASE)
_TEXTS = ("text", "texts", "value", "values", "content", "option", "choice", "choices", "options")


def parse_choices(value: Any) -> tuple[str, ...]:
    """Choices in order, without the letters that they may carry themselves.

    A list of texts, of {text: ...}, of {A: ...}, of [A, ...]; a mapping of letters to texts; a struct of lists, of
    which one holds the texts; or any of these as JSON or Python in a text; or a text that lists them, by letters
    (`A. red B. blue`) or one a line. Raises ItemRejected: bad_choices, image_marks.
    """
    if isinstance(value, str):
        text = value
        try:
            value = literal(text) if text.strip() else None
        except ItemRejected:
            value = _lettered_parts(text[:MAX_LITERAL]) or [line.strip() for line in text.splitlines() if line.strip()]
            if len(value) < 2:
                raise
    if isinstance(value, Mapping):
        lists = {name: listed for name, listed in value.items() if isinstance(listed, list | tuple)}
        if lists:  # {"label": ["A", "B"], "text": ["red", "blue"]}
            value = next((lists[name] for name in _TEXTS if name in lists), None)
        else:
            numbered = all(str(key).isdecimal() for key in value)
            order = sorted(value, key=(lambda key: int(str(key))) if numbered else str)
            value = without_missing([value[key] for key in order])
    if value is None or value == []:
        return ()
    if not isinstance(value, list | tuple):
        raise ItemRejected("bad_choices", type(value).__name__)
    texts = [without_marks(_choice(item)) for item in value]
    matches = [_LETTERED.match(text.translate(_FULL_WIDTH)) for text in texts]
    letters = zip(matches, LETTERS, strict=False)
    if len(texts) > 1 and all(match and match[1].upper() == letter for match, letter in letters):
        # `A. red`, `B. blue` as `red`, `blue`, where every choice carries the letter of its place.
        texts = [text[match.end() :] for text, match in zip(texts, matches, strict=True) if match]
    if len(texts) < 2 or len(texts) > len(LETTERS) or not all(texts):
        raise ItemRejected("bad_choices", f"{len(texts)} choices, {sum(not text for text in texts)} of them empty")
    return tuple(texts)


def without_missing(values: Sequence[Any]) -> list[Any]:
    """Drop missing values at the end: a question may have fewer choices than the data set has letters.

    Raises ItemRejected (bad_choices) where a value before the last is missing: closing the gap would change the letters
    of the choices after it, and the gold would name another one.
    """
    kept = list(values)
    while kept and kept[-1] in (None, ""):
        kept.pop()
    if missing := sum(value is None or value == "" for value in kept):
        raise ItemRejected("bad_choices", f"{missing} of {len(kept)} choices missing before the last")
    return kept


def _lettered_parts(text: str) -> list[str]:
    """The choices of `A. red B. blue`; nothing where the text begins otherwise."""
    marks: list[re.Match[str]] = []
    for match in _LISTED.finditer(text):
        first = marks[0] if marks else match
        sign, wanted = (one.group().replace(one[1], "").strip() for one in (match, first))
        letters = LETTERS.lower() if first[1].islower() else LETTERS
        if len(marks) < len(letters) and match[1] == letters[len(marks)] and sign == wanted:
            marks.append(match)
    if not marks or text[: marks[0].start()].strip():
        return []
    ends = [match.start() for match in marks[1:]] + [len(text)]
    return [text[match.end() : end].strip(" \n\t;,；，") for match, end in zip(marks, ends, strict=True)]


def _choice(item: Any) -> str:
    if isinstance(item, Mapping):
        named = next((item[name] for name in _TEXTS if item.get(name) is not None), None)
        item = next(iter(item.values())) if named is None and len(item) == 1 else named
    elif isinstance(item, list | tuple) and len(item) == 2 and _LETTER.fullmatch(cell_text(item[0]) or ""):
        item = item[1]
    text = cell_text(item)
    if text is None:
        raise ItemRejected("bad_choices", f"a choice that is {type(item).__name__}")
    return text


def choice_letters(gold: str, form: str, choices: tuple[str, ...]) -> list[str]:
    """The golds in letters, each as good as the other: more than one where choices repeat a text.

    A gold may name several choices, all of which are right together (`AC`, `A, C`, `["red", "blue"]`): that is one gold
    of several letters, in order. Without choices (they may stand in the question or the image) a letter or index is
    believed, a text kept. Raises ItemRejected: answer_not_a_choice.
    """
    if form == "text" and not choices:
        return [gold]
    together = [_one(part, form, choices) for part in _together(gold, form, choices)]
    if not together or not all(together):
        raise ItemRejected("answer_not_a_choice", f"{gold[:100]} of {len(choices)} choices, as {form}")
    if len(together) == 1:
        return together[0]
    return ["".join(sorted({letters[0] for letters in together}))]


def equal_choices(letter: str, choices: Sequence[str]) -> list[str]:
    """The letter, and those of other choices with the very same text: whoever names one of them is right."""
    place = LETTERS.index(letter)
    if place >= len(choices):
        return [letter]
    texts = [" ".join(choice.split()) for choice in choices]
    return [letter, *(LETTERS[i] for i, text in enumerate(texts) if i != place and text == texts[place])]


def _one(gold: str, form: str, choices: tuple[str, ...]) -> list[str]:
    """The letters that mean the one choice that a gold names; nothing where it names none."""
    if form == "text":
        exact = [LETTERS[i] for i, choice in enumerate(choices) if choice == gold]
        if exact:
            return exact
        wanted = " ".join(gold.lower().split())
        loose = [LETTERS[i] for i, choice in enumerate(choices) if " ".join(choice.lower().split()) == wanted]
        return loose or _lettered(gold, choices)
    if form == "letter":
        match = _LETTER.fullmatch(gold.translate(_FULL_WIDTH))
        found = [match.group(1).upper()] if match else _lettered(gold, choices)
    else:
        try:
            number = float(gold)
        except ValueError:
            number = math.nan
        index = int(number) - (form == "index1") if number.is_integer() else -1
        found = [LETTERS[index]] if 0 <= index < len(LETTERS) else []
    if not found or (choices and LETTERS.index(found[0]) >= len(choices)):
        return []
    return equal_choices(found[0], choices)


def _together(gold: str, form: str, choices: tuple[str, ...]) -> list[str]:
    """The parts of a gold that names several choices; else the gold itself."""
    if gold.startswith("["):  # a column that is a list, or spells one
        with contextlib.suppress(ItemRejected):
            parts = [cell_text(part) for part in literal(gold)]
            if parts and all(parts):
                return [part for part in parts if part]
    if form == "letter":
        gold = gold.translate(_FULL_WIDTH)
        joined = None if gold in choices else _JOINED.fullmatch(gold)
        letters = joined[1] if joined else "".join(_SEVERAL.sub("", gold).split()) if _SEVERAL.search(gold) else ""
        most = len(choices) or len(LETTERS)
        if len(letters) > 1 and letters.isalpha() and letters.isupper() and len({*letters}) == len(letters) <= most:
            return list(letters)
    elif form != "text" and "," in gold:
        return [part.strip() for part in gold.split(",")]
    return [gold]


def _lettered(gold: str, choices: tuple[str, ...]) -> list[str]:
    """The letter of `B. blue`, where the choice of that letter is `blue`."""
    match = _LETTERED.match(gold.translate(_FULL_WIDTH))
    if not match:
        return []
    place, text = LETTERS.index(match[1].upper()), " ".join(gold[match.end() :].lower().split())
    return [LETTERS[place]] if place < len(choices) and " ".join(choices[place].lower().split()) == text else []
