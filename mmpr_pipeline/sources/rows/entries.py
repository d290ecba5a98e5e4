"""Rows that hold several questions: lists of questions, parallel lists, conversations. Pure.

Each entry becomes a row of its own, in which the column of the list holds only that entry; everything else (the image)
stands beside it as before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmpr_pipeline.core.records import Turn
from mmpr_pipeline.models.messages import IMAGE_MARK
from mmpr_pipeline.sources.declaration.schema import Columns
from mmpr_pipeline.sources.files.formats import Row, Unreadable, Values

ASKING = frozenset({"human", "user", "question", "questioner"})
ANSWERING = frozenset({"gpt", "assistant", "answer", "model", "bot", "chatgpt"})
"""Who speaks, in conversations as LLaVA, ShareGPT, OpenAI and others write them; any other (system) is passed over."""

_WHO = ("from", "role", "speaker")
_WHAT = ("value", "content", "text")
_PICTURE = ("image", "image_url", "url", "path", "bytes")


def entry_rows(row: Row, columns: Columns) -> list[Row]:
    """The rows of one question each that a row stands for; at least one, so that none is lost uncounted.

    A row whose entries cannot be told apart is one Unreadable: `no_entries`, `bad_entries`, or `unreadable_row`.
    """
    names = columns.entry_columns()
    if not names or isinstance(row, Unreadable):
        return [row]
    try:
        found = [as_json(reach(row, name)) for name in names]
        entries = turns(found[0]) if columns.turns else _parallel(found)
        if isinstance(entries, Unreadable):
            return [entries]
        if not entries:
            return [Unreadable("no_entries", ", ".join(names))]
        made: list[Row] = []
        for entry in entries:
            one: Values = row
            for name, value in zip(names, entry, strict=True):
                one = _replaced(one, name, value)
            made.append(one)
        return made
    except Exception as error:  # nothing but the row goes in here
        return [Unreadable("unreadable_row", type(error).__name__)]


def _parallel(found: list[Any]) -> list[tuple[Any, ...]] | Unreadable:
    """Entries of lists side by side; a struct of lists, as `datasets` keeps a sequence of structs, is one such list."""
    lists: list[Any] = []
    for value in found:
        if isinstance(value, Mapping):
            columns = {name: one for name, one in value.items() if isinstance(one, list | tuple)}
            if columns and len(columns) == len(value) and len({len(one) for one in columns.values()}) == 1:
                value = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        lists.append([] if value is None else value)
    if any(not isinstance(value, list | tuple) for value in lists):
        return Unreadable("bad_entries", ", ".join(type(value).__name__ for value in found))
    if len({len(value) for value in lists}) > 1:
        return Unreadable("bad_entries", f"lists of {', '.join(str(len(value)) for value in lists)} entries")
    return list(zip(*lists, strict=True))


def turns(conversation: Any) -> list[tuple[dict[str, Any]]] | Unreadable:
    """Each question of a conversation with the reply that follows it, as `question` and `answer`.

    `images` are those that stand in the turns themselves, up to and with the question's; `history` is what was said
    before. A question without a reply keeps an empty one; a reply that nothing asked for is passed over.
    """
    if conversation is None:
        return []
    if not isinstance(conversation, list | tuple):
        return Unreadable("bad_entries", f"a conversation that is {type(conversation).__name__}")
    made: list[dict[str, Any]] = []
    images: list[Any] = []
    for number, turn in enumerate(conversation):
        if not isinstance(turn, Mapping):
            return Unreadable("bad_entries", f"a turn that is {type(turn).__name__}")
        before = conversation[:number]
        if "user" in turn and "assistant" in turn:
            images = images + pictured(turn["user"])
            replied = {"question": turn_text(turn["user"]), "answer": turn_text(turn["assistant"])}
            made.append({**replied, "images": images, "history": before})
            continue
        who = str(_first(turn, _WHO) or "").lower()
        if who in ASKING:
            images = images + pictured(_first(turn, _WHAT))
            asked = turn_text(_first(turn, _WHAT))
            made.append({"question": asked, "answer": "", "images": images, "history": before})
        elif who in ANSWERING and made and not made[-1]["answer"]:
            made[-1]["answer"] = turn_text(_first(turn, _WHAT))
    return [(turn,) for turn in made]


def spoken(conversation: Any) -> list[Turn]:
    """The turns of a conversation in order; what is said by nobody that is known is passed over."""
    made: list[Turn] = []
    for turn in conversation if isinstance(conversation, list | tuple) else []:
        if not isinstance(turn, Mapping):
            continue
        who = str(_first(turn, _WHO) or "").lower()
        if "user" in turn and "assistant" in turn:
            made += [Turn(role=role, text=turn_text(turn[role])) for role in ("user", "assistant")]
        elif who in ASKING or who in ANSWERING or who == "system":
            role = "user" if who in ASKING else "assistant" if who in ANSWERING else "system"
            made.append(Turn(role=role, text=turn_text(_first(turn, _WHAT))))  # type: ignore[arg-type]
    return made


def turn_text(content: Any) -> str:
    """What a turn says: a text, or parts of which the images become marks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind = str(part.get("type") or "")
            texts.append(IMAGE_MARK if "image" in kind else str(part.get("text") or ""))
    return "\n".join(text for text in texts if text)


def last_said(conversation: Any, who: Collection[str]) -> str | None:
    """The last that one of these says in a conversation, or what a single turn of theirs says; None where none does."""
    listed = [conversation] if isinstance(conversation, Mapping) else conversation
    found = [
        turn
        for turn in (listed if isinstance(listed, list | tuple) else [])
        if isinstance(turn, Mapping) and str(_first(turn, _WHO) or "").lower() in who
    ]
    return turn_text(_first(found[-1], _WHAT)) if found else None


def pictured(content: Any) -> list[Any]:
    """The images among the parts of a turn, however they are referred to; none where a column of its own holds them."""
    parts = content if isinstance(content, list | tuple) else []
    found = [_first(part, _PICTURE) for part in parts if isinstance(part, Mapping) and "image" in str(part.get("type"))]
    return [reference for reference in found if reference]


def reach(row: Any, name: str) -> Any:
    """The value of a column, or of a field of a struct; None where there is none."""
    if not isinstance(row, Mapping):
        return None
    if name in row:
        return row[name]
    head, dot, rest = name.partition(".")
    return reach(row.get(head), rest) if dot else None


def _replaced(row: Values, name: str, value: Any) -> Values:
    if name in row:
        return {**row, name: value}
    head, dot, rest = name.partition(".")
    inner = row.get(head)
    if dot and isinstance(inner, Mapping):
        return {**row, head: _replaced(inner, rest, value)}
    return {**row, name: value}


def _first(turn: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((turn[name] for name in names if turn.get(name) is not None), None)


def as_json(value: Any) -> Any:
    """A list or mapping that a text spells as JSON; the value itself where it spells none."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
