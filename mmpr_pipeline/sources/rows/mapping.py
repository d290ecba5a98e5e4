"""One row becomes one question: columns looked up, the gold brought into one form, image marks put in order.

Pure: what an image reference means is asked of `load`, which the caller brings.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

from mmpr_pipeline.checking.reading.choices import choices_in
from mmpr_pipeline.core.errors import ItemRejected, nearest
from mmpr_pipeline.core.records import Image, Language, PresetPair, Question, Turn, question_id
from mmpr_pipeline.core.verdict import AnswerKind
from mmpr_pipeline.models.conversation import TURN_MARK, conversation
from mmpr_pipeline.sources.declaration.schema import Columns, SourceDeclaration
from mmpr_pipeline.sources.images.decode import load_image
from mmpr_pipeline.sources.rows.choices import LETTERS, choice_letters, equal_choices, literal, parse_choices
from mmpr_pipeline.sources.rows.columns import (
    MARK,
    cell_text,
    clean,
    cut,
    cut_answer,
    image_path,
    text_or_none,
    without_marks,
)
from mmpr_pipeline.sources.rows.entries import ANSWERING, ASKING, last_said
from mmpr_pipeline.sources.rows.history import history_of
from mmpr_pipeline.sources.rows.instructions import MAX_INSTRUCTION, Stripped, decimals_asked, strip_instruction

MAX_QUESTION = 100_000
"""Most characters of a question: far beyond any model's context."""

MAX_IMAGES = 32
"""Most images of one question."""

IMAGEMARK = "<image>"
"""Where an image goes in a question's text; see records.Question."""

_KINDS: tuple[str, ...] = get_args(AnswerKind)
_ABSENT = object()
_NO_SIGN = re.compile(r"[\W_]+")

Row = Mapping[str, Any]
Load = Callable[[Any], bytes]
Look = Callable[[bytes], Image]


def question_from_row(
    declaration: SourceDeclaration, row: Row, source_id: str, load: Load, look: Look = load_image
) -> Question:
    """The question in a row. `load` gives the encoded image behind a reference, `look` what is in it.

    Raises ItemRejected with one of the reasons: missing_column, wrong_type, not_selected, unknown_kind, nul_byte,
    empty_question, question_too_long, turn_mark, bad_history, bad_choices, no_answer, answer_not_a_choice,
    missing_image, too_many_images, image_marks, and those of `load` and `look`.
    """
    _selected(declaration, row)
    kind = _kind(declaration, row)
    columns = declaration.columns
    text = _question(row, columns)
    choices = _choices(row, columns) if kind == "choice" else ()
    golds = _golds(declaration, row, kind, choices, text)
    history = history_of(declaration, lambda column: _value(row, column))
    raw = [load(reference) for reference in image_references(declaration, row)]
    if "\0" in text or any("\0" in part for part in (*choices, *golds)):
        raise ItemRejected("nul_byte", "in the question, a choice or a gold")
    if any(TURN_MARK in part for part in (text, *choices)):
        raise ItemRejected("turn_mark", f"{TURN_MARK} stands between turns")
    # Marks may stand in any turn: they are put in order over all of them.
    whole, order = place_marks(TURN_MARK.join([*(turn.text for turn in history), text]), len(raw))
    *earlier, text = whole.split(TURN_MARK)
    history = tuple(Turn(role=turn.role, text=words) for turn, words in zip(history, earlier, strict=True))
    raw = [raw[i] for i in order]
    asked_in_all = conversation([*history, Turn(role="user", text=text)])
    digests = [hashlib.sha256(data).hexdigest() for data in raw]
    preset = _preset(row, columns)
    # Responses that are there already answer to the whole of what was asked.
    asked = strip_instruction(text) if declaration.strips and not columns.chosen else Stripped(text)
    instruction = "\n".join(part for part in (_cut_off(row, columns), asked.instruction) if part)[:MAX_INSTRUCTION]
    precision = _precision(_value(row, columns.precision))
    prompting = declaration.prompting()
    if prompting and declaration.prompt and declaration.prompt.hint and asked.hint:
        prompting = prompting.model_copy(update={"hint": asked.hint})
    return Question(
        question_id=question_id(declaration.name, digests, asked_in_all, (*choices, *_responses(preset))),
        source=declaration.name,
        source_id=source_id,
        text=asked.text,
        instruction=instruction,
        choices=choices,
        images=tuple(look(data) for data in raw),
        kind=kind,
        answer=golds[0] if golds else None,
        answers=golds[1:],
        unit=text_or_none(_value(row, columns.unit)),
        precision=decimals_asked(instruction) if precision is None and kind == "number" else precision,
        language=_language(declaration, row),
        tiles=declaration.tiles,
        prompting=prompting,
        preset=preset,
        history=history,
    )


def row_id(declaration: SourceDeclaration, row: Row) -> str | None:
    """The row's id as its source gives it, or None where it gives none."""
    value = _value(row, declaration.columns.id)
    text = None if isinstance(value, bool | float) else cell_text(value)
    return text[:500] if text and text.strip() and "\0" not in text else None


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
        names = list(map(str, row))
        near = nearest(column, names, listing=False) or f"; the row has {', '.join(names)}"
        raise ItemRejected("missing_column", f"{column}{near}"[:300]) from None


def _selected(declaration: SourceDeclaration, row: Row) -> None:
    for column, values in declaration.where.items():
        value = _required(row, column)
        text = str(value) if isinstance(value, bool) else cell_text(value)
        if text not in values:
            raise ItemRejected("not_selected", f"{column}: {text}"[:200])


def _kind(declaration: SourceDeclaration, row: Row) -> AnswerKind:
    if isinstance(declaration.kind, str):
        return declaration.kind
    seen = []
    for rule in declaration.kind_rules():
        value = cell_text(_value(row, rule.column)) or ""
        own_name = value if not rule.values and not rule.contains and value in _KINDS else None
        inside = next((kind for text, kind in rule.contains.items() if text in value), None)
        kind = rule.values.get(value) or own_name or inside or rule.otherwise
        if kind:
            return cast(AnswerKind, kind)
        seen.append(f"{rule.column}: {value}")
    raise ItemRejected("unknown_kind", ", ".join(seen)[:200])


def _language(declaration: SourceDeclaration, row: Row) -> Language:
    if isinstance(declaration.language, str):
        return declaration.language
    value = cell_text(_value(row, declaration.language.column)) or ""
    return declaration.language.values.get(value, declaration.language.otherwise)


def _question(row: Row, columns: Columns) -> str:
    column = columns.question
    text = _required(row, column)
    text = text if text is None or isinstance(text, str) else last_said(text, ASKING) or text
    if text is not None and not isinstance(text, str):
        raise ItemRejected("wrong_type", f"{column}: {type(text).__name__}")
    text = cut(clean(text or ""), columns.question_after, columns.question_until)
    context = text_or_none(_value(row, columns.context))
    text = f"{context}\n{text}" if context and text else text
    if not MARK.sub("", text).strip():
        raise ItemRejected("empty_question", column)
    if len(text) > MAX_QUESTION:
        raise ItemRejected("question_too_long", f"{len(text)} characters, at most {MAX_QUESTION}")
    return text


def _preset(row: Row, columns: Columns) -> PresetPair | None:
    """The pair that a row brings: texts, or conversations that end in the response; None where it is not whole."""
    if not columns.chosen:
        return None
    found = [_value(row, name) for name in (columns.chosen, columns.rejected)]
    texts = [value if isinstance(value, str) else last_said(value, ANSWERING) for value in found]
    chosen, rejected = (clean(text or "") for text in texts)
    if not chosen.strip() or not rejected.strip():
        return None
    if "\0" in chosen or "\0" in rejected:
        raise ItemRejected("nul_byte", "in a response")
    return PresetPair(chosen=chosen, rejected=rejected)


def _responses(preset: PresetPair | None) -> tuple[str, ...]:
    """What tells rows of one question with other responses apart."""
    return (preset.chosen, preset.rejected) if preset else ()


def _cut_off(row: Row, columns: Columns) -> str:
    """What `question_after` and `question_until` leave out of the question: instructions, mostly."""
    whole = cell_text(_value(row, columns.question)) or ""
    kept = cut(whole, columns.question_after, columns.question_until)
    head, _, tail = whole.partition(kept) if kept else ("", "", "")
    return "\n".join(part for part in (MARK.sub("", head).strip(), MARK.sub("", tail).strip()) if part)


def _choices(row: Row, columns: Columns) -> tuple[str, ...]:
    names = columns.choice_columns()
    if len(names) < 2:
        return parse_choices(_value(row, names[0]) if names else None)
    found = [_value(row, name) for name in names]  # columns A, B, C, D are null from some number on
    return parse_choices([value for value in found if value is not None and value != ""])


def _golds(declaration: SourceDeclaration, row: Row, kind: str, choices: tuple[str, ...], text: str) -> tuple[str, ...]:
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
        column = columns.answer or columns.answers or ""
        folded = _NO_SIGN.sub("", column.casefold())
        alike = next((name for name in map(str, row) if _NO_SIGN.sub("", name.casefold()) == folded), None)
        if column and column not in row and alike:  # a column that differs by case or signs
            raise ItemRejected("missing_column", f"{column}; did you mean {alike}?"[:300])
        raise ItemRejected("no_answer", column)
    if kind == "choice":
        golds = [letter for gold in golds for letter in _letters(gold, declaration.answer_form, choices, text)]
    return tuple(dict.fromkeys(golds))


def _letters(gold: str, form: str, choices: tuple[str, ...], text: str) -> list[str]:
    """See `choice_letters`; of choices that only the question lists, the letters of those that say the same, too."""
    if choices or form == "text":
        return choice_letters(gold, form, choices)
    listed = choices_in(text)
    if len(gold) > 1 and gold in listed:  # the segment AB, say, and not A and B together
        return equal_choices(LETTERS[listed.index(gold)], listed)
    letters = choice_letters(gold, form, ())
    return equal_choices(letters[0], listed) if len(letters[0]) == 1 else letters


def _gold_text(value: Any, kind: str) -> str | None:
    if isinstance(value, Mapping):  # VQA-style lists of {"answer": ...}
        value = value.get("answer")
    if isinstance(value, list | tuple) and len(value) == 1 and kind != "list":
        return _gold_text(value[0], kind)
    if isinstance(value, bool) and kind == "yes_no":
        return "yes" if value else "no"
    if not (isinstance(value, list | tuple) and value):
        text = cell_text(value)
        return text.strip() if text else None
    try:
        return clean(json.dumps(value, ensure_ascii=False)).strip()
    except (TypeError, ValueError, RecursionError) as error:  # bytes, dates and other things that are no answer
        raise ItemRejected("wrong_type", f"a gold that is a list: {error}"[:200]) from None


def image_references(declaration: SourceDeclaration, row: Row) -> list[Any]:
    """What stands for each image of a row: its bytes, or where they are. Raises ItemRejected: missing_column,
    wrong_type, missing_image, too_many_images."""
    columns = declaration.columns
    found: list[Any]
    if columns.image_path:
        found = [image_path(columns.image_path, lambda name: _required(row, name))]
    elif columns.images:
        # A list of images; one alone; or, as tables of text have it, a list of paths spelled as JSON or Python.
        value = _required(row, columns.images)
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            with contextlib.suppress(ItemRejected):
                value = literal(value)
        found = list(value) if isinstance(value, list | tuple) else [value]
    else:
        names = columns.image_columns()
        found = [*(_required(row, name) for name in names[:1]), *(_value(row, name) for name in names[1:])]
        if len(found) == 1 and isinstance(found[0], list | tuple):
            found = list(found[0])
        if len(found) > 1:  # columns image_1 ... image_7 are null, or not in the row, from some number on
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

    Where the marks do not match the images they are taken out, and the images go first, in their own order. Raises
    ItemRejected: image_marks.
    """
    numbers = [match.group(1) for match in MARK.finditer(text)]
    order = list(range(count))
    if numbers and all(numbers):
        named = [int(number) - 1 for number in numbers]
        matches, order = sorted(named) == order, named if sorted(named) == order else order
    else:
        matches = len(numbers) == count and not any(numbers)
    plain = without_marks(text)
    return (MARK.sub(IMAGEMARK, text), order) if matches else (plain, list(range(count)))


def _precision(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
