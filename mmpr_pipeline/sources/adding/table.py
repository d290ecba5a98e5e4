"""Sample rows as columns: what each is called, what its values look like, and which names say what is in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.images.load import BASE64_OF_IMAGES
from mmpr_pipeline.sources.rows.columns import literal

QUESTION = ("question", "query", "problem", "instruction", "prompt", "user", "question_text", "ask", "q", "input",
            "statement", "sentence", "text", "问题", "题目", "题干")  # fmt: skip
ANSWER = ("answer", "gold", "gold_answer", "ground_truth", "groundtruth", "gt", "gt_answer", "correct_answer",
          "correct_choice", "label", "target", "assistant", "response", "output", "solution", "a", "answer_text",
          "final_answer", "correct_option", "answer_idx", "answer_index", "answer_key", "answer_label",
          "correct_choice_idx", "correct_idx", "correct_index", "correct_answer_idx", "reference", "答案", "标准答案",
          "正确答案")  # fmt: skip
AGREED = ("multiple_choice_answer",)
"""What most of those who were asked said, beside the list of all that they said (VQA)."""
ANSWERS = ("answers", "golds", "gold_answers", "references")
CHOICES = ("choice", "option", "candidate", "answer_choice", "multiple_choice", "answer_option", "alternative",
           "选项")  # fmt: skip
IDS = ("id", "qid", "question_id", "pid", "uid", "uuid", "index", "idx", "sample_id", "item_id",
       "data_id", "__key__", "_key", "key", "no", "number", "题号", "编号", "序号")  # fmt: skip
CONTEXT = ("hint", "passage", "context", "lecture")
CONVERSATION = ("conversation", "message", "dialog", "dialogue", "turn")
LANGUAGE = ("language", "lang", "locale")
CHOSEN = ("chosen", "chosen_response", "preferred", "preferred_response", "response_chosen", "win", "better")
REJECTED = (
    "rejected",
    "rejected_response",
    "dispreferred",
    "dispreferred_response",
    "response_rejected",
    "lose",
    "worse",
)


def source_name(called: str) -> str:
    """What something is called, in the letters that a source's name may have; empty where it has none of them."""
    return re.sub(r"[^a-z0-9_.-]+", "_", called.lower()).strip("_.-")


@dataclass
class Guess:
    """Fields of a declaration, why each was chosen, and what is doubtful."""

    fields: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def suggest(self, name: str, value: Any, why: str) -> None:
        """A column and the reason for it."""
        self.columns[name] = value
        self.why[f"columns.{name}"] = why


Rows = Sequence[Mapping[str, Any]]

IMAGE_NAME = re.compile(r"\.(png|jpe?g|webp|gif|bmp|tiff?)$", re.IGNORECASE)
_SIGNS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"<svg", b"<?xml")
_IMAGE_STRUCT = ("bytes", "path", "url", "src")
_DEPTH = 3
_VALUES = ("value", "text")


class Table:
    """The values of each column of the sample; `a.b` is field `b` of the structs in column `a`."""

    def __init__(self, rows: Rows) -> None:
        self.size = len(rows)
        self.columns: dict[str, list[Any]] = {}
        for number, row in enumerate(rows):
            self._add("", row, number, 0)

    def _add(self, prefix: str, row: Mapping[str, Any], number: int, depth: int) -> None:
        for name, value in row.items():
            whole = f"{prefix}{name}"
            if isinstance(value, Mapping) and depth < _DEPTH and not is_leaf(value):
                self._add(f"{whole}.", value, number, depth + 1)
            else:
                self.columns.setdefault(whole, [None] * self.size)[number] = value

    def present(self, name: str) -> list[Any]:
        """The values that are there: not null, not an empty text or list."""
        return [value for value in self.columns.get(name, ()) if not empty(value)]

    def share(self, name: str) -> float:
        """The share of rows that have a value."""
        return len(self.present(name)) / self.size if self.size else 0.0

    def texts(self, name: str) -> list[str]:
        """The values as texts, numbers among them; nothing where most are something else."""
        found = self.present(name)
        kept = [str(value).strip() for value in found if isinstance(value, str | int | float | bool)]
        return kept if len(kept) > 0.8 * len(found) else []


def empty(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value) or value != value


def is_leaf(value: Mapping[str, Any]) -> bool:
    """Whether a struct is one value (an image, a mapping of letters) instead of a group of columns."""
    keys = list(map(str, value))
    image = "bytes" in keys or (len(keys) < 4 and any(key in _IMAGE_STRUCT for key in keys))
    letters = bool(keys) and all(re.fullmatch(r"[A-Z]|\d{1,2}", key) for key in keys)
    return image or letters or not keys or {"text", "label"} <= set(keys)


def image_form(value: Any) -> str | None:
    """How a value refers to an image: bytes, struct, base64, url, path or list; None where it does not."""
    if isinstance(value, bytes | bytearray):
        return "bytes" if bytes(value[:16]).lstrip().startswith(_SIGNS) else None
    if isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes | bytearray):
            return "struct"
        path = next((value[key] for key in ("path", "url", "src") if isinstance(value.get(key), str)), None)
        return image_form(path) and "struct"
    if isinstance(value, str):
        text = value
        start = text[:40].lstrip()
        if start.lower().startswith("data:image"):
            return "base64"
        if start.lower().startswith(("http://", "https://")):
            return "url"
        if len(text) > 100 and start.startswith(BASE64_OF_IMAGES):
            return "base64"
        if start.startswith("["):
            # `list` for a text that spells a list of images, as JSON or as Python prints it.
            try:
                listed = literal(text)
            except ItemRejected:
                return None
            return image_form(listed) if isinstance(listed, list | tuple) else None
        return "path" if len(text) < 1000 and "\n" not in text and IMAGE_NAME.search(text.strip()) else None
    if isinstance(value, list | tuple):
        return "list" if value and all(image_form(item) for item in value) else None
    return None


def last(name: str) -> str:
    """A column's own name in small letters, without the structs around it."""
    return name.rpartition(".")[2].lower()


def word(name: str) -> str:
    """A name as names are compared: `Correct Answer`, `correctAnswer` and `correct_answer` are one."""
    return re.sub(r"[\W_]+", "", name).lower()


def is_called(name: str, wanted: Sequence[str]) -> bool:
    """Whether a column has one of the names, in one or in many; `answer.value` is called what `answer` is."""
    within, _, own = name.rpartition(".")
    words = {word(own), word(last(within))} if own in _VALUES else {word(own)}
    return any(word(one) in words or f"{word(one)}s" in words for one in wanted)
