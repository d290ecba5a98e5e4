"""What a row says before its question: a system prompt, and the earlier turns of a conversation. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Turn
from mmpr_pipeline.models.conversation import TURN_MARK
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.columns import clean, text_or_none, without_marks
from mmpr_pipeline.sources.rows.entries import as_json, spoken

MOST_TURNS = 64
MOST_CHARACTERS = 100_000
"""Of all turns before a question: as many as a question may have."""


def history_of(declaration: SourceDeclaration, value_of: Callable[[str | None], Any]) -> tuple[Turn, ...]:
    """System prompt and turns before the question of a row; `value_of` gives what a column holds.

    The row's own system prompt stands above the declaration's. Only users show images: marks elsewhere are taken out.
    Raises ItemRejected: bad_history, question_too_long, nul_byte, turn_mark.
    """
    columns = declaration.columns
    said = spoken(as_json(value_of(columns.history))) if columns.history else []
    if columns.history == columns.question:
        asked = [number for number, turn in enumerate(said) if turn.role == "user"]
        said = said[: asked[-1]] if asked else []
    systems = [turn for turn in said if turn.role == "system"]
    own = text_or_none(value_of(columns.system)) or next((turn.text for turn in systems), None)
    system = own or (declaration.prompt.system if declaration.prompt else None)
    turns = [Turn(role="system", text=system)] if system else []
    turns += [turn for turn in said if turn.role != "system"]
    turns = [Turn(role=turn.role, text=clean(turn.text)) for turn in turns]
    turns = [turn if turn.role == "user" else Turn(role=turn.role, text=without_marks(turn.text)) for turn in turns]
    if len(systems) > 1 or len(turns) > MOST_TURNS:
        raise ItemRejected("bad_history", f"{len(systems)} system prompts in {len(said)} turns")
    if (length := sum(len(turn.text) for turn in turns)) > MOST_CHARACTERS:
        raise ItemRejected("question_too_long", f"{length} characters before it, at most {MOST_CHARACTERS}")
    if any("\0" in turn.text for turn in turns):
        raise ItemRejected("nul_byte", "before the question")
    if any(TURN_MARK in turn.text for turn in turns):
        raise ItemRejected("turn_mark", f"{TURN_MARK} stands between turns")
    return tuple(turns)
