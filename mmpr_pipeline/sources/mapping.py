"""One row becomes one question: columns looked up, the gold brought into one form, image marks put in order.

Pure: what an image reference means is asked of `load`, which the caller brings.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import string
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

from mmpr_pipeline.errors import ItemRejected
from mmpr_pipeline.records import AnswerKind, Language, Question, question_id
from mmpr_pipeline.sources.columns import cut, cut_answer, image_path
from mmpr_pipeline.sources.declaration import Columns, KindByColumn, SourceDeclaration
from mmpr_pipeline.sources.images import load_image

MAX_QUESTION = 100_000
"""Most characters of a question: far beyond any model's context."""

MAX_CHOICES_TEXT = 20_000
"""Most characters of choices that are a Python list in a text."""

MAX_IMAGES = 32
"""Most images of one question."""

IMAGE_MARK = "<image>"
"""Where an image goes in a question's text; see records.Question."""

LETTERS = string.ascii_uppercase
_KINDS: tuple[str, ...] = get_args(AnswerKind)
_MARK = re.compile(r"<\|?image[ _-]?(\d{0,3})\|?>", re.IGNORECASE)
_LETTER = re.compile(r"\s*[(\[（]?\s*([A-Za-z])\s*[)\]）.:：、．]?\s*")
_ABSENT = object()

Row = Mapping[str, Any]
Load = Callable[[Any], bytes]


def question_from_row(declaration: SourceDeclaration, row: Row, source_id: str, load: Load) -> Question:
    """The question in a row. `load` gives the encoded image behind a reference.

    Raises ItemRejected with one of the reasons: missing_column, wrong_type, not_selected, unknown_kind,
    empty_question, question_too_long, bad_choices, no_answer, answer_not_a_choice, missing_image, too_many_images, and
    those of `load` and `load_image`.
    """
    _selected(declaration, row)
    kind = _kind(declaration, row)
    columns = declaration.columns
    text = _question(row, columns)
    choices = parse_choices(_value(row, columns.choices)) if kind == "choice" else ()
    golds = _golds(declaration, row, kind, choices)
    raw = [load(reference) for reference in _references(declaration, row)]
    text, order = place_marks(text, len(raw))
    raw = [raw[i] for i in order]
    digests = [hashlib.sha256(data).hexdigest() for data in raw]
    return Question(
        question_id=question_id(declaration.name, digests, text, choices),
        source=declaration.name,
        source_id=source_id,
        text=text,
        choices=choices,
        images=tuple(load_image(data) for data in raw),
        kind=kind,
        answer=golds[0] if golds else None,
        answers=golds[1:],
        unit=_text_or_none(_value(row, columns.unit)),
        precision=_precision(_value(row, columns.precision)),
        language=_language(declaration, row),
        tiles=declaration.tiles,
    )


def row_id(declaration: SourceDeclaration, row: Row, number: int) -> str:
    """The row's id as its source gives it, or `row N` (from 0) where it gives none."""
    value = _value(row, declaration.columns.id)
    usable = isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip()
    return clean(str(value))[:500] if usable else f"row {number}"


def lookup(row: Row, column: str) -> Any:
    """The value of `a`, of `a.b` (a column of that name, or a field of a struct), of `a.0` (the first of a list), or
    of the first of `a;b` present.

    Gives None where it is null everywhere; raises KeyError where no alternative is a column of the row.
    """
    found = _ABSENT
    for name in column.split(";"):
        value = _reach(row, name)
        if value is not _ABSENT and value is not None:
            return value
        found = None if value is None else found
    if found is _ABSENT:
        raise KeyError(column)
    return None


def _reach(row: Any, name: str) -> Any:
    head, dot, rest = name.partition(".")
    if isinstance(row, list | tuple) and head.isdecimal():
        value = row[int(head)] if len(head) < 7 and int(head) < len(row) else None
        return _reach(value, rest) if dot and value is not None else value
    if not isinstance(row, Mapping):
        return _ABSENT
    if name in row:
        return row[name]
    return _reach(row[head], rest) if dot and head in row else _ABSENT


def _value(row: Row, column: str | None) -> Any:
    """The value of an optional column; None where the row does not have it."""
    try:
        return lookup(row, column) if column else None
    except KeyError:
        return None


def _required(row: Row, column: str) -> Any:
    try:
        return lookup(row, column)
    except KeyError:
        raise ItemRejected("missing_column", f"{column}; the row has {', '.join(map(str, row))}"[:300]) from None


def _selected(declaration: SourceDeclaration, row: Row) -> None:
    for column, values in declaration.where.items():
        value = _required(row, column)
        if str(value) not in values:
            raise ItemRejected("not_selected", f"{column}: {value}"[:200])


def _kind(declaration: SourceDeclaration, row: Row) -> AnswerKind:
    if isinstance(declaration.kind, str):
        return declaration.kind
    seen = []
    for rule in declaration.kind_rules():
        value = _as_text(_value(row, rule.column)) or ""
        kind = rule.values.get(value) or _kind_in(rule, value) or rule.otherwise
        if kind:
            return cast(AnswerKind, kind)
        seen.append(f"{rule.column}: {value}")
    raise ItemRejected("unknown_kind", ", ".join(seen)[:200])


def _kind_in(rule: KindByColumn, value: str) -> str | None:
    if not rule.values and not rule.contains and value in _KINDS:
        return value
    return next((kind for text, kind in rule.contains.items() if text in value), None)


def _language(declaration: SourceDeclaration, row: Row) -> Language:
    if isinstance(declaration.language, str):
        return declaration.language
    value = _as_text(_value(row, declaration.language.column)) or ""
    return declaration.language.values.get(value, declaration.language.otherwise)


def _question(row: Row, columns: Columns) -> str:
    column = columns.question
    text = _required(row, column)
    if text is not None and not isinstance(text, str):
        raise ItemRejected("wrong_type", f"{column}: {type(text).__name__}")
    text = cut(clean(text or ""), columns.question_after, columns.question_until)
    context = _text_or_none(_value(row, columns.context))
    text = f"{context}\n{text}" if context and text else text
    if not _MARK.sub("", text).strip():
        raise ItemRejected("empty_question", column)
    if len(text) > MAX_QUESTION:
        raise ItemRejected("question_too_long", f"{len(text)} characters, at most {MAX_QUESTION}")
    return text


def parse_choices(value: Any) -> tuple[str, ...]:
    """Choices in order: a list of texts, a mapping of letters to texts, a list of such; or either as JSON or Python."""
    if isinstance(value, str):
        value = _choices_in_text(value)
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value, key=str) if value[key] is not None]
    if value is None or value == []:
        return ()
    if not isinstance(value, list | tuple):
        raise ItemRejected("bad_choices", type(value).__name__)
    texts = tuple(_MARK.sub("", _choice(item)).strip() for item in value)
    if len(texts) < 2 or len(texts) > len(LETTERS) or not all(texts):
        raise ItemRejected("bad_choices", f"{len(texts)} choices, {sum(not text for text in texts)} of them empty")
    return texts


def _choices_in_text(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:  # MMMU writes Python lists; literal_eval builds literals only and runs nothing
        if len(text) > MAX_CHOICES_TEXT:
            raise ValueError
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ItemRejected("bad_choices", "text that is neither JSON nor a list") from None


def _choice(item: Any) -> str:
    if isinstance(item, Mapping):
        item = item.get("text", item.get("value"))
    text = _as_text(item)
    if text is None:
        raise ItemRejected("bad_choices", f"a choice that is {type(item).__name__}")
    return text


def _golds(declaration: SourceDeclaration, row: Row, kind: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The gold first, then further ones; the letters of right choices; nothing for open-ended questions."""
    if kind == "none":
        return ()
    columns = declaration.columns
    values = [_value(row, columns.answer)]
    listed = _value(row, columns.answers)
    values += listed if isinstance(listed, list | tuple) else [listed]
    texts = [_gold_text(value, kind) for value in values]
    golds = [cut_answer(text, columns.answer_marks(), columns.answer_strip) for text in texts if text]
    golds = [text for text in golds if text]
    if not golds:
        raise ItemRejected("no_answer", columns.answer or columns.answers or "")
    if kind == "choice":
        golds = [letter for gold in golds for letter in choice_letters(gold, declaration.answer_form, choices)]
    return tuple(dict.fromkeys(golds))


def _gold_text(value: Any, kind: str) -> str | None:
    if isinstance(value, Mapping):  # VQA-style lists of {"answer": ...}
        value = value.get("answer")
    if isinstance(value, bool) and kind == "yes_no":
        return "yes" if value else "no"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) and value else _as_text(value)
    return text.strip() if text else None


def choice_letters(gold: str, form: str, choices: tuple[str, ...]) -> list[str]:
    """The letters that a gold means, several where choices repeat a text. Raises ItemRejected: answer_not_a_choice.

    Without choices (they may stand in the question or the image) a letter or index is believed, a text kept.
    """
    if form == "text":
        if not choices:
            return [gold]
        letters = [LETTERS[i] for i, choice in enumerate(choices) if choice == gold]
        wanted = " ".join(gold.lower().split())
        letters = letters or [
            LETTERS[i] for i, choice in enumerate(choices) if " ".join(choice.lower().split()) == wanted
        ]
    elif form == "letter":
        match = _LETTER.fullmatch(gold)
        letters = [match.group(1).upper()] if match else []
    else:
        number = _whole(gold)
        index = -1 if number is None else number - (form == "index1")
        letters = [LETTERS[index]] if 0 <= index < len(LETTERS) else []
    if not letters or (choices and LETTERS.index(letters[0]) >= len(choices)):
        raise ItemRejected("answer_not_a_choice", f"{gold[:100]} of {len(choices)} choices, as {form}")
    return letters


def _whole(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if math.isfinite(value) and value == int(value) else None


def _references(declaration: SourceDeclaration, row: Row) -> list[Any]:
    columns = declaration.columns
    found: list[Any]
    if columns.image_path:
        found = [image_path(columns.image_path, lambda name: _required(row, name))]
    elif columns.images:
        value = _required(row, columns.images)
        found = list(value) if isinstance(value, list | tuple) else [value]
    else:
        found = [_required(row, column) for column in columns.image_columns()]
        if len(found) > 1:  # columns image_1 ... image_7 are null from some number on
            found = [reference for reference in found if reference is not None] or [None]
    if declaration.text_only:
        found = [reference for reference in found if reference not in (None, "")]
    elif not found:
        raise ItemRejected("missing_image", "an empty list of images")
    if len(found) > MAX_IMAGES:
        raise ItemRejected("too_many_images", f"{len(found)}, at most {MAX_IMAGES}")
    return found


def place_marks(text: str, count: int) -> tuple[str, list[int]]:
    """The text with `<image>` for each mark, and the order in which it names the images.

    Where the marks do not match the images they are taken out, and the images go first, in their own order.
    """
    numbers = [match.group(1) for match in _MARK.finditer(text)]
    order = list(range(count))
    if numbers and all(numbers):
        named = [int(number) - 1 for number in numbers]
        matches, order = sorted(named) == order, named if sorted(named) == order else order
    else:
        matches = len(numbers) == count and not any(numbers)
    if matches:
        return _MARK.sub(IMAGE_MARK, text), order
    return _MARK.sub("", text).strip(), list(range(count))


def _precision(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text_or_none(value: Any) -> str | None:
    text = _as_text(value)
    return text.strip() or None if text else None


def _as_text(value: Any) -> str | None:
    """Text, numbers and truth values as text; None for null, NaN and anything else."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, int | float) else None


def clean(text: str) -> str:
    """Text that can be written as UTF-8: half surrogate pairs, which JSON can spell, become the replacement sign."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
