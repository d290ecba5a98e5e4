"""Which column is what: by its name, and by what stands in it; lists of which each entry is a question. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.adding.images import guess_images
from mmpr_pipeline.sources.adding.table import (
    AGREED,
    ANSWER,
    ANSWERS,
    CHOICES,
    CHOSEN,
    CONTEXT,
    CONVERSATION,
    IDS,
    QUESTION,
    REJECTED,
    Guess,
    Rows,
    Table,
    empty,
    image_form,
    is_called,
    last,
)
from mmpr_pipeline.sources.declaration.schema import Columns
from mmpr_pipeline.sources.files.formats import Unreadable
from mmpr_pipeline.sources.rows.choices import parse_choices
from mmpr_pipeline.sources.rows.entries import ANSWERING, ASKING, as_json, entry_rows, last_said, turns

_LETTERED = re.compile(r"^(?:(?:option|choice|answer|opt)[ _-]?)?([a-h])$", re.IGNORECASE)


def guess_columns(rows: Rows, columns: Mapping[str, str]) -> tuple[Guess, Table]:
    """The columns of a sample, with `columns` taken as they are; and the table of its single questions."""
    guess = Guess()
    for name, column in columns.items():
        guess.suggest(name, column.split(",") if "," in column else column, "as you said")
    if not {"each", "turns"} & set(columns):
        guess_entries(guess, Table(rows))
    nested = Columns(question="-", **{name: guess.columns[name] for name in ("each", "turns") if name in guess.columns})
    single = [one for row in rows for one in entry_rows(row, nested)]
    table = Table([row for row in single if not isinstance(row, Unreadable)])
    if not {"image", "images", "image_path"} & set(guess.columns):
        guess_images(guess, table)
    for find in (_question, _pair, _choices, _answer, _id, _context, _measures):
        find(guess, table)
    return guess, table


def _question(guess: Guess, table: Table) -> None:
    if "question" in guess.columns:
        return
    taken = _taken(guess)
    for name in _by_name(table, QUESTION, taken, turns=True):
        return guess.suggest("question", name, "by its name")
    asks = {name: sum("?" in text or "？" in text for text in table.texts(name)) for name in table.columns}
    best = max((name for name in asks if name not in taken), key=asks.__getitem__, default="")
    if best and asks[best] > 0.3 * table.size:
        guess.suggest("question", best, f"{asks[best]} of {table.size} texts ask something")


def _pair(guess: Guess, table: Table) -> None:
    """Two responses of which one is preferred."""
    if {"chosen", "rejected"} & set(guess.columns):
        return
    taken = _taken(guess)
    both = [next(_by_name(table, names, taken, turns=True), None) for names in (CHOSEN, REJECTED)]
    if all(both):
        for name, column in zip(("chosen", "rejected"), both, strict=True):
            guess.suggest(
                name, column, "by its name: rows are pairs already, which --strategies preset takes as they are"
            )
        if "question" not in guess.columns and all(last_said(one, ASKING) for one in table.present(both[0] or "")):
            guess.suggest("question", both[0], "what is asked in it last")
        for name in table.columns if "question" not in guess.columns else ():  # a conversation without its last reply
            values = [as_json(value) for value in table.present(name)]
            if is_called(name, CONVERSATION) and all(last_said(value, ASKING) for value in values):
                guess.suggest("question", name, "what is asked in it last")
                if any(len(value) > 1 for value in values if isinstance(value, list | tuple)):
                    guess.suggest("history", name, "the turns before it")
                break


def _choices(guess: Guess, table: Table) -> None:
    if "choices" in guess.columns:
        return
    for name in table.columns:
        # A list of none, `[]`, says nothing: that question has no choices.
        values = [value for value in table.present(name) if not isinstance(value, str) or as_json(value) != []]
        if not values or not is_called(name, CHOICES):
            continue
        if sum(map(_parses, values)) > 0.5 * len(values):
            shape = "a mapping" if isinstance(as_json(values[0]), Mapping) else "a list"
            shape = "a text that lists them" if isinstance(as_json(values[0]), str) else shape
            return guess.suggest("choices", name, f"by its name, {shape}")
        if all(isinstance(value, str) for value in values):
            odd = next(value for value in values if not _parses(value))
            guess.doubts.append(f"{name} is named like choices, but its values cannot be split, as in {odd[:60]!r}.")
    lettered = {found[1].upper(): name for name in table.columns if (found := _LETTERED.fullmatch(last(name)))}
    row = [lettered[letter] for letter in "ABCDEFGH" if letter in lettered]
    if len(row) > 1 and "A" in lettered and "B" in lettered and all(map(table.texts, row[:2])):
        guess.suggest("choices", row, "a column for each choice")


def _parses(value: Any) -> bool:
    try:
        return len(parse_choices(value)) > 1
    except ItemRejected:
        return False


def _answer(guess: Guess, table: Table) -> None:
    if {"answer", "answers"} & set(guess.columns):
        return
    taken = _taken(guess)
    for name in _by_name(table, AGREED, taken):
        return guess.suggest("answer", name, "by its name: what most said")
    for name in _by_name(table, ANSWERS, taken, lists=True):
        several = any(isinstance(value, list | tuple) for value in table.present(name))
        return guess.suggest(
            "answers" if several else "answer", name, f"by its name{', golds of equal right' * several}"
        )
    for name in _by_name(table, ANSWER, taken, lists=True):
        return guess.suggest("answer", name, "by its name")


def _id(guess: Guess, table: Table) -> None:
    if "id" in guess.columns:
        return
    for name in _by_name(table, IDS, _taken(guess)):
        values = table.texts(name)
        whole = [value for value in table.columns[name] if isinstance(value, str | int)]
        entries = [*_names(guess.columns.get("each")), *_names(guess.columns.get("turns"))]
        inside = any(name.startswith(f"{entry}.") for entry in entries)
        if len(whole) < table.size or (len(set(values)) < table.size and (inside or not entries)):
            continue
        return guess.suggest("id", name, "one of its own for each row" if entries else "different in every row")


def _context(guess: Guess, table: Table) -> None:
    if "context" in guess.columns:
        return
    for name in _by_name(table, CONTEXT, _taken(guess), least=0.05):
        texts = [text for text in table.texts(name) if len(text) > 20]
        if len(texts) > 0.3 * len(table.present(name)):
            return guess.suggest("context", name, "texts to be read before the question")


def _measures(guess: Guess, table: Table) -> None:
    """The unit and the decimals that the rows state for a numeric gold."""
    taken = _taken(guess)
    for name in _by_name(table, ("unit",), taken, least=0.01):
        if "unit" not in guess.columns and max(map(len, table.texts(name)), default=99) < 30:
            guess.suggest("unit", name, "by its name: units of numbers")
    for name in _by_name(table, ("precision", "decimals"), taken, least=0.01):
        numbers = all(re.fullmatch(r"\d{1,3}(\.\d{1,3})?", text) for text in table.texts(name))
        if "precision" not in guess.columns and numbers:
            guess.suggest("precision", name, "by its name: decimals asked for")


def _by_name(
    table: Table,
    wanted: Sequence[str],
    taken: set[str],
    *,
    lists: bool = False,
    turns: bool = False,
    least: float = 0.5,
) -> Iterator[str]:
    """Columns with one of the names, in the names' order; texts and numbers, and lists of them or turns if allowed."""
    for called in wanted:
        for name in table.columns:
            if not is_called(name, (called,)) or name in taken or table.share(name) < least:
                continue
            values = table.present(name)
            plain = all(isinstance(value, str | int | float | bool) for value in values)
            says = turns and all(last_said(value, ASKING | ANSWERING) is not None for value in values)
            if (plain and not any(map(image_form, values))) or says or (lists and all(map(_golds, values))):
                yield name


def _golds(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(item, str | int | float | bool) or (isinstance(item, Mapping) and "answer" in item)
               for item in items) and not empty(value)  # fmt: skip


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _taken(guess: Guess) -> set[str]:
    return {name for key, value in guess.columns.items() if key not in ("each", "turns") for name in _names(value)}


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
