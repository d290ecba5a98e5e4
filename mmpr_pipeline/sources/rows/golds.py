"""The gold answers and the choices of a row, brought into one form. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mmpr_pipeline.checking.reading.choices import choices_in
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.declaration.columns import Columns, one_or_several
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.choices import LETTERS, choice_letters, equal_choices, parse_choices, without_missing
from mmpr_pipeline.sources.rows.columns import Row, cell_text, clean, cut_answer, optional_value

_NO_SIGN = re.compile(r"[\W_]+")


def choices_of(row: Row, columns: Columns) -> tuple[str, ...]:
    """The choices that a row lists, in one column or in one for each. Raises ItemRejected: bad_choices, image_marks."""
    names = one_or_several(columns.choices)
    if len(names) < 2:
        return parse_choices(optional_value(row, names[0]) if names else None)
    found = [optional_value(row, name) for name in names]  # columns A, B, C, D are null from some number on
    return parse_choices(without_missing(found))


def golds_of(
    declaration: SourceDeclaration, row: Row, kind: str, choices: tuple[str, ...], text: str
) -> tuple[str, ...]:
    """The gold first, then further ones; the letters of right choices; nothing for open-ended questions.

    Raises ItemRejected: missing_column, no_answer, wrong_type, answer_not_a_choice.
    """
    if kind == "none":
        return ()
    columns = declaration.columns
    values = [optional_value(row, columns.answer)]
    listed = optional_value(row, columns.answers)
    values += listed if isinstance(listed, list | tuple) else [listed]
    texts = [_gold_text(value, kind) for value in values]
    golds = [cut_answer(text, one_or_several(columns.answer_after), columns.answer_strip) for text in texts if text]
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
    except (TypeError, ValueError, RecursionError) as error:  # bytes, dates and other values that cannot be an answer
        raise ItemRejected("wrong_type", f"a gold that is a list: {error}"[:200]) from None
