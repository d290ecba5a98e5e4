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
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Image, PresetPair, Question, Turn, question_id
from mmpr_pipeline.core.verdict import AnswerKind
from mmpr_pipeline.models.messages import TURN_MARK, conversation
from mmpr_pipeline.sources.declaration.schema import Columns, SourceDeclaration, one_or_several
from mmpr_pipeline.sources.images import USUAL, ImageLimits
from mmpr_pipeline.sources.images.load import load_image
from mmpr_pipeline.sources.rows.choices import LETTERS, choice_letters, equal_choices, parse_choices, without_missing
from mmpr_pipeline.sources.rows.columns import (
    MARK,
    Row,
    cell_text,
    clean,
    cut,
    cut_answer,
    image_references,
    lookup,
    place_marks,
    without_marks,
)
from mmpr_pipeline.sources.rows.entries import ANSWERING, ASKING, as_json, last_said, spoken
from mmpr_pipeline.sources.rows.instructions import MAX_INSTRUCTION, Stripped, strip_instruction

MAX_QUESTION = 100_000
"""Most characters of a question, of all turns before it, and of its golds and choices: far beyond any context."""

MOST_TURNS = 64
"""Most turns before a question."""

_KINDS: tuple[str, ...] = get_args(AnswerKind)
_NO_SIGN = re.compile(r"[\W_]+")

Load = Callable[[Any], bytes]


def question_from_row(
    declaration: SourceDeclaration, row: Row, source_id: str, load: Load, limits: ImageLimits | None = USUAL
) -> Question:
    """The question in a row. `load` gives the encoded image behind a reference; each is decoded, to be sure of it,
    within `limits`. Without limits its bytes alone are known: its format is empty and its size zero.

    Raises ItemRejected with one of the reasons: missing_column, wrong_type, not_selected, unknown_kind, nul_byte,
    empty_question, question_too_long, answer_too_long, turn_mark, bad_history, bad_choices, no_answer,
    answer_not_a_choice, missing_image, too_many_images, image_marks, and those of `load` and `load_image`.
    """
    columns, prompt = declaration.columns, declaration.prompt
    for column, values in declaration.where.items():
        value = lookup(row, column, required=True)
        found = str(value) if isinstance(value, bool) else cell_text(value)
        if found not in values:
            raise ItemRejected("not_selected", f"{column}: {found}"[:200])
    kind = declaration.kind
    if not isinstance(kind, str):
        kind = _kind_by_column(declaration, row)
    text, cut_off = _question(row, columns)
    choices = choices_of(row, columns) if kind == "choice" else ()
    golds = golds_of(declaration, row, kind, choices, text)
    history: tuple[Turn, ...] = ()
    if columns.history or columns.system or (prompt and prompt.system):
        history = _history(declaration, row)
    raw = [load(reference) for reference in image_references(declaration, row)]
    if (length := sum(map(len, (*choices, *golds)))) > MAX_QUESTION:
        raise ItemRejected("answer_too_long", f"{length} characters of golds and choices, at most {MAX_QUESTION}")
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
    preset = _preset(row, columns) if columns.chosen else None
    responses = (preset.chosen, preset.rejected) if preset else ()  # they tell rows of one question apart
    # Responses that are there already answer to the whole of what was asked.
    whole_text = columns.chosen or (prompt and not prompt.strip)
    asked = Stripped(text) if whole_text else strip_instruction(text)
    instruction = "\n".join(part for part in (cut_off, asked.instruction) if part)[:MAX_INSTRUCTION]
    language = declaration.language
    if not isinstance(language, str):
        language = language.values.get(cell_text(lookup(row, language.column)) or "", language.otherwise)
    return Question(
        question_id=question_id(declaration.name, digests, asked_in_all, (*choices, *responses)),
        source=declaration.name,
        source_id=source_id,
        text=asked.text,
        instruction=instruction,
        choices=choices,
        images=tuple(
            load_image(data, limits) if limits else Image(sha256=digest, data=data, format="", width=0, height=0)
            for digest, data in zip(digests, raw, strict=True)
        ),
        kind=kind,
        answer=golds[0] if golds else None,
        answers=golds[1:],
        unit=(cell_text(lookup(row, columns.unit)) or "").strip() or None,
        precision=_precision(lookup(row, columns.precision), kind, instruction),
        language=language,
        tiles=declaration.tiles,
        prompting=prompt.asking(asked.hint) if prompt else None,
        preset=preset,
        history=history,
    )


def row_id(declaration: SourceDeclaration, row: Row) -> str | None:
    """The row's id as its source gives it, or None where it gives none."""
    value = lookup(row, declaration.columns.id)
    text = None if isinstance(value, bool | float) else cell_text(value)
    return text[:500] if text and text.strip() and "\0" not in text else None


def _kind_by_column(declaration: SourceDeclaration, row: Row) -> AnswerKind:
    seen = []
    for rule in declaration.kind_rules():
        value = cell_text(lookup(row, rule.column)) or ""
        own_name = value if not rule.values and not rule.contains and value in _KINDS else None
        inside = next((kind for text, kind in rule.contains.items() if text in value), None)
        kind = rule.values.get(value) or own_name or inside or rule.otherwise
        if kind:
            return cast(AnswerKind, kind)
        seen.append(f"{rule.column}: {value}")
    raise ItemRejected("unknown_kind", ", ".join(seen)[:200])


def _question(row: Row, columns: Columns) -> tuple[str, str]:
    """The text of the question, and what `question_after` and `question_until` leave out: instructions, mostly."""
    column = columns.question
    cell = lookup(row, column, required=True)
    said = cell if cell is None or isinstance(cell, str) else last_said(cell, ASKING) or cell
    if said is not None and not isinstance(said, str):
        raise ItemRejected("wrong_type", f"{column}: {type(said).__name__}")
    kept = cut(clean(said or ""), columns.question_after, columns.question_until)
    context = (cell_text(lookup(row, columns.context)) or "").strip()
    text = f"{context}\n{kept}" if context and kept else kept
    # Blanks and signs without a shape (zero-width, directions of writing) ask nothing.
    if not any(sign.isprintable() and not sign.isspace() for sign in MARK.sub("", text)):
        raise ItemRejected("empty_question", column)
    if len(text) > MAX_QUESTION:
        raise ItemRejected("question_too_long", f"{len(text)} characters, at most {MAX_QUESTION}")
    head, _, tail = clean(cell).partition(kept) if isinstance(cell, str) else ("", "", "")
    return text, "\n".join(part for part in (MARK.sub("", head).strip(), MARK.sub("", tail).strip()) if part)


def _history(declaration: SourceDeclaration, row: Row) -> tuple[Turn, ...]:
    """System prompt and turns before the question of a row.

    The row's own system prompt stands above the declaration's. Only users show images: marks elsewhere are taken out.
    Raises ItemRejected: bad_history, question_too_long, nul_byte, turn_mark.
    """
    columns = declaration.columns
    said = spoken(as_json(lookup(row, columns.history))) if columns.history else []
    if columns.history == columns.question:
        asked = [number for number, turn in enumerate(said) if turn.role == "user"]
        said = said[: asked[-1]] if asked else []
    systems = [turn for turn in said if turn.role == "system"]
    own = (cell_text(lookup(row, columns.system)) or "").strip() or next((turn.text for turn in systems), None)
    system = own or (declaration.prompt.system if declaration.prompt else None)
    turns = [Turn(role="system", text=system)] if system else []
    turns += [turn for turn in said if turn.role != "system"]
    turns = [Turn(role=turn.role, text=clean(turn.text)) for turn in turns]
    turns = [turn if turn.role == "user" else Turn(role=turn.role, text=without_marks(turn.text)) for turn in turns]
    if len(systems) > 1 or len(turns) > MOST_TURNS:
        raise ItemRejected("bad_history", f"{len(systems)} system prompts in {len(said)} turns")
    if (length := sum(len(turn.text) for turn in turns)) > MAX_QUESTION:
        raise ItemRejected("question_too_long", f"{length} characters before it, at most {MAX_QUESTION}")
    if any("\0" in turn.text for turn in turns):
        raise ItemRejected("nul_byte", "before the question")
    if any(TURN_MARK in turn.text for turn in turns):
        raise ItemRejected("turn_mark", f"{TURN_MARK} stands between turns")
    return tuple(turns)


def _preset(row: Row, columns: Columns) -> PresetPair | None:
    """The pair that a row brings: texts, or conversations that end in the response; None where it is not whole."""
    found = [lookup(row, name) for name in (columns.chosen, columns.rejected)]
    texts = [value if isinstance(value, str) else last_said(value, ANSWERING) for value in found]
    chosen, rejected = (clean(text or "") for text in texts)
    if not chosen.strip() or not rejected.strip():
        return None
    if "\0" in chosen or "\0" in rejected:
        raise ItemRejected("nul_byte", "in a response")
    return PresetPair(chosen=chosen, rejected=rejected)


def _precision(value: Any, kind: str, instruction: str) -> float | None:
    """The decimals that a column says, else those that the instruction of a numeric question asks for."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if math.isfinite(number := float(value)):
            return number
    asked = _DECIMALS.search(instruction) if kind == "number" else None
    return _WORDS[asked[1].lower()] if asked else None


_DECIMALS = re.compile(r"floating-point number with (one|two|three|four) decimal", re.IGNORECASE)
"""How MathVista's hints ask for them."""
_WORDS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0}


def choices_of(row: Row, columns: Columns) -> tuple[str, ...]:
    """The choices that a row lists, in one column or in one for each. Raises ItemRejected: bad_choices, image_marks."""
    names = one_or_several(columns.choices)
    if len(names) < 2:
        return parse_choices(lookup(row, names[0]) if names else None)
    found = [lookup(row, name) for name in names]  # columns A, B, C, D are null from some number on
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
    values = [lookup(row, columns.answer)]
    listed = lookup(row, columns.answers)
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
