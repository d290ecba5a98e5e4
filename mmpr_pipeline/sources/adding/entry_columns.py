"""Which columns hold several questions: lists of structs, lists side by side, conversations. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmpr_pipeline.sources.adding.guess import Guess
from mmpr_pipeline.sources.adding.names import CHOSEN, QUESTION, REJECTED
from mmpr_pipeline.sources.adding.table import Table, image_form, is_called, last
from mmpr_pipeline.sources.files.formats import Unreadable
from mmpr_pipeline.sources.rows.entries import ANSWERING, ASKING, as_json, turns


def guess_entries(guess: Guess, table: Table) -> None:
    """Columns whose entries are questions of their own."""
    lists: dict[str, int] = {}
    for name in table.columns:
        if is_called(name, (*CHOSEN, *REJECTED)):  # conversations that end in a response of a pair
            continue
        values = [value for value in map(as_json, table.present(name)) if isinstance(value, list | tuple)]
        if not values or len(values) < 0.8 * len(table.present(name)) or any(map(image_form, values)):
            continue
        entries = [entry for value in values for entry in value]
        structs = [entry for entry in entries if isinstance(entry, Mapping)]
        if structs and len(structs) == len(entries):
            roles = {str(turn.get("from") or turn.get("role") or "").lower() for turn in structs}
            both = all("user" in turn and "assistant" in turn for turn in structs)
            if both or (roles & ASKING and roles & ANSWERING):
                return _conversation(guess, name, values)
            keys = {str(key).lower() for key in structs[0]}
            if keys & set(QUESTION[:9]):
                return guess.suggest("each", name, f"lists of {', '.join(sorted(keys))}: each a question of its own")
        elif entries and all(isinstance(entry, str | int | float) for entry in entries):
            lists[name] = sum(len(value) for value in values)
    asked = next((name for name in lists if last(name).rstrip("s") in QUESTION[:4]), None)
    if asked:
        beside = [name for name in lists if lists[name] == lists[asked]]
        guess.suggest("each", beside if len(beside) > 1 else asked, f"lists side by side: {', '.join(beside)}")


def _conversation(guess: Guess, name: str, conversations: Sequence[Sequence[Any]]) -> None:
    guess.suggest("turns", name, "a conversation: each question and its reply are a question of their own")
    guess.suggest("question", f"{name}.question", "what is asked in a turn")
    guess.suggest("answer", f"{name}.answer", "the reply to it")
    asked = [turn for each in map(turns, conversations) if not isinstance(each, Unreadable) for (turn,) in each]
    if any(turn["images"] for turn in asked):
        guess.suggest("images", f"{name}.images", "images stand in the turns")
    if len(asked) > len(conversations):
        guess.doubts.append("Later turns of a conversation may speak of earlier ones, which the model will not see.")
