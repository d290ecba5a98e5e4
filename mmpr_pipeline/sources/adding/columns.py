"""Which column is what: by its name, and by what stands in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmpr_pipeline.errors import ItemRejected
from mmpr_pipeline.sources.adding.table import Rows, Table, empty, image_form, last
from mmpr_pipeline.sources.choices import parse_choices
from mmpr_pipeline.sources.declaration import Columns
from mmpr_pipeline.sources.entries import ANSWERING, ASKING, as_json, rows_of
from mmpr_pipeline.sources.formats import Unreadable

QUESTION = ("question", "query", "problem", "instruction", "prompt", "user", "question_text", "ask", "q", "input",
            "statement", "sentence", "text")  # fmt: skip
ANSWER = ("answer", "gold", "gold_answer", "ground_truth", "groundtruth", "gt", "gt_answer", "correct_answer",
          "correct_choice", "label", "target", "assistant", "response", "output", "solution", "a", "answer_text",
          "final_answer", "correct_option", "answer_idx", "answer_index", "reference")  # fmt: skip
ANSWERS = ("answers", "golds", "gold_answers", "references")
CHOICES = ("choices", "options", "candidates", "answer_choices", "multiple_choices", "option", "choice", "alternatives")
IDS = ("id", "qid", "question_id", "questionid", "pid", "uid", "uuid", "index", "idx", "sample_id", "item_id",
       "data_id", "__key__", "_key", "key")  # fmt: skip
CONTEXT = ("hint", "passage", "context", "lecture")
LANGUAGE = ("language", "lang", "locale")
_IMAGE_WORD = re.compile(r"image|img|picture|photo|figure|diagram|^(jpe?g|png|webp)$", re.IGNORECASE)
_MEMBERS = ("jpg", "jpeg", "png", "webp")
_TOLD = {
    "bytes": "bytes of images",
    "struct": "images as `datasets` keeps them",
    "base64": "images in base64",
    "url": "URLs of images",
    "path": "paths of images",
}
_NUMBERED = re.compile(r"(.*?)[ _-]?(\d{1,2})$")
_LETTERED = re.compile(r"^(?:(?:option|choice|answer|opt)[ _-]?)?([a-h])$", re.IGNORECASE)


@dataclass
class Guess:
    """Fields of a declaration, why each was chosen, and what is doubtful."""

    fields: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def say(self, name: str, value: Any, why: str) -> None:
        """A column and the reason for it."""
        self.columns[name] = value
        self.why[f"columns.{name}"] = why


def guess_columns(rows: Rows, given: Mapping[str, str]) -> tuple[Guess, Table]:
    """The columns of a sample, those `given` as they are; and the table of its single questions."""
    guess = Guess()
    for name, column in given.items():
        guess.say(name, column.split(",") if "," in column else column, "as you said")
    if not {"each", "turns"} & set(given):
        _entries(guess, Table(rows))
    told = Columns(question="-", **{name: guess.columns[name] for name in ("each", "turns") if name in guess.columns})
    single = [one for row in rows for one in rows_of(row, told)]
    table = Table([row for row in single if not isinstance(row, Unreadable)])
    if not {"image", "images", "image_path"} & set(given):
        _images(guess, table)
    for find in (_question, _choices, _answer, _id, _context):
        find(guess, table)
    return guess, table


def _entries(guess: Guess, table: Table) -> None:
    """Columns whose entries are questions of their own."""
    lists: dict[str, int] = {}
    for name in table.columns:
        found = [as_json(value) for value in table.present(name)]
        found = [value for value in found if isinstance(value, list | tuple)]
        if not found or len(found) < 0.8 * len(table.present(name)) or any(map(image_form, found)):
            continue
        entries = [entry for value in found for entry in value]
        structs = [entry for entry in entries if isinstance(entry, Mapping)]
        if structs and len(structs) == len(entries):
            if _speaks(structs):
                return _conversation(guess, name, found)
            keys = {str(key).lower() for key in structs[0]}
            if keys & set(QUESTION[:9]):
                return guess.say("each", name, f"lists of {', '.join(sorted(keys))}: each a question of its own")
        elif entries and all(isinstance(entry, str | int | float) for entry in entries):
            lists[name] = sum(len(value) for value in found)
    asked = next((name for name in lists if last(name).rstrip("s") in QUESTION[:4]), None)
    if asked:
        beside = [name for name in lists if lists[name] == lists[asked]]
        guess.say("each", beside if len(beside) > 1 else asked, f"lists side by side: {', '.join(beside)}")


def _speaks(turns: Sequence[Mapping[str, Any]]) -> bool:
    if all("user" in turn and "assistant" in turn for turn in turns):
        return True
    who = {str(turn.get("from") or turn.get("role") or "").lower() for turn in turns}
    return bool(who & ASKING) and bool(who & ANSWERING)


def _conversation(guess: Guess, name: str, found: Sequence[Sequence[Any]]) -> None:
    guess.say("turns", name, "a conversation: each question and its reply are a question of their own")
    guess.say("question", f"{name}.question", "what is asked in a turn")
    guess.say("answer", f"{name}.answer", "the reply to it")
    if max(map(len, found)) > 2:
        guess.doubts.append("Later turns of a conversation may speak of earlier ones, which the model will not see.")


def _images(guess: Guess, table: Table) -> None:
    """Columns that refer to images: those that hold the bytes before those that name a place."""
    forms = {name: _form(table, name) for name in table.columns}
    found = {name: form for name, form in forms.items() if form}
    if not found:
        return
    order = {"bytes": 0, "struct": 0, "base64": 1, "list": 1, "path": 2, "url": 3}
    names = sorted(found, key=lambda name: (order[found[name]], not _IMAGE_WORD.search(last(name)), name))
    best = names[0]
    if found[best] == "list":
        guess.say("images", best, "lists of images")
    elif len(group := _numbered(best, [name for name in names if order[found[name]] == order[found[best]]])) > 1:
        guess.say("image", group, f"images ({found[best]}) in numbered columns")
    elif best in _MEMBERS:  # members of a tar
        every = [name for name in _MEMBERS if found.get(name) == "bytes"]
        guess.say("image", ";".join(every), "image files of the tar")
    else:
        guess.say("image", best, _TOLD[found[best]])
    if table.share(best) < 1 and best not in _MEMBERS:
        guess.doubts.append(f"{1 - table.share(best):.0%} of the sample have no image; `text_only: true` keeps them.")


def _form(table: Table, name: str) -> str | None:
    values = table.present(name)
    forms = [form for value in values if (form := image_form(value))]
    if not forms or len(forms) < 0.8 * len(values):
        return None
    form = max(set(forms), key=forms.count)
    return form if form != "url" or _IMAGE_WORD.search(name) or "url" in last(name) else None


def _numbered(best: str, names: Sequence[str]) -> list[str]:
    """`image_1`, `image_2`, ... beside each other, in order."""
    match = _NUMBERED.fullmatch(best)
    if not match:
        return [best]
    same = [(int(found[2]), name) for name in names if (found := _NUMBERED.fullmatch(name)) and found[1] == match[1]]
    return [name for _, name in sorted(same)]


def _question(guess: Guess, table: Table) -> None:
    if "question" in guess.columns:
        return
    taken = _taken(guess)
    for name in _by_name(table, QUESTION, taken):
        return guess.say("question", name, "by its name")
    asks = {name: sum("?" in text or "？" in text for text in table.texts(name)) for name in table.columns}
    best = max((name for name in asks if name not in taken), key=asks.__getitem__, default="")
    if best and asks[best] > 0.3 * table.size:
        guess.say("question", best, f"{asks[best]} of {table.size} texts ask something")


def _choices(guess: Guess, table: Table) -> None:
    if "choices" in guess.columns:
        return
    for name in table.columns:
        values = table.present(name)
        if last(name) in CHOICES and values and sum(map(_parses, values)) > 0.5 * len(values):
            shape = "a mapping" if isinstance(as_json(values[0]), Mapping) else "a list"
            return guess.say("choices", name, f"by its name, {shape}")
    lettered = {found[1].upper(): name for name in table.columns if (found := _LETTERED.fullmatch(last(name)))}
    row = [lettered[letter] for letter in "ABCDEFGH" if letter in lettered]
    if len(row) > 1 and "A" in lettered and "B" in lettered and all(map(table.texts, row[:2])):
        guess.say("choices", row, "a column for each choice")


def _parses(value: Any) -> bool:
    try:
        return len(parse_choices(value)) > 1
    except ItemRejected:
        return False


def _answer(guess: Guess, table: Table) -> None:
    if {"answer", "answers"} & set(guess.columns):
        return
    taken = _taken(guess)
    for name in _by_name(table, ANSWERS, taken, lists=True):
        several = any(isinstance(value, list | tuple) for value in table.present(name))
        return guess.say("answers" if several else "answer", name, f"by its name{', golds of equal right' * several}")
    for name in _by_name(table, ANSWER, taken, lists=True):
        return guess.say("answer", name, "by its name")


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
        return guess.say("id", name, "one of its own for each row" if entries else "different in every row")


def _context(guess: Guess, table: Table) -> None:
    if "context" in guess.columns:
        return
    for name in _by_name(table, CONTEXT, _taken(guess), least=0.05):
        texts = [text for text in table.texts(name) if len(text) > 20]
        if len(texts) > 0.3 * len(table.present(name)):
            return guess.say("context", name, "texts to be read before the question")


def _by_name(
    table: Table, wanted: Sequence[str], taken: set[str], *, lists: bool = False, least: float = 0.5
) -> Iterator[str]:
    """Columns with one of the names, in the order of the names; texts and numbers, and lists of them if allowed."""
    for word in wanted:
        for name in table.columns:
            if last(name) not in (word, f"{word}s") or name in taken or table.share(name) < least:
                continue
            values = table.present(name)
            plain = all(isinstance(value, str | int | float | bool) for value in values)
            if (plain and not any(map(image_form, values))) or (lists and all(map(_golds, values))):
                yield name


def _golds(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(item, str | int | float | bool) or (isinstance(item, Mapping) and "answer" in item)
               for item in items) and not empty(value)  # fmt: skip


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _taken(guess: Guess) -> set[str]:
    return {name for key, value in guess.columns.items() if key not in ("each", "turns") for name in _names(value)}
