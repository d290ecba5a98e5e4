"""Questions held out of one's own sources, as a source of their own: what every round is measured on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources import Source
from mmpr_pipeline.sources.source import open_source
from mmpr_pipeline.storage import open_store

NAME = "held_out"
_DECLARATION = {
    "name": NAME,
    "description": "Questions held out of training.",
    "role": "evaluation",
    "columns": {
        **{name: name for name in ("id", "question", "answer", "choices", "unit", "history")},
        "image": "images",
    },
    "kind": {"column": "kind"},
    "language": {"column": "language", "values": {"en": "en", "zh": "zh"}},
    "answer_form": "letter",
    "text_only": True,
}


def hold_out_questions(
    sources: Sequence[str], data_root: str | None, number: int, limit: int | None, folder: Path
) -> int:
    """Write `number` questions of the sources, evenly from all and spread over their rows, into a folder with its
    declaration `held_out.yaml`; returns how many there are. Questions without an answer are not taken.

    Raises ConfigError where there is none to take.
    """
    opened = [open_source(source, data_root) for source in sources]
    store = open_store(folder)
    lines = []
    for at, source in enumerate(opened):
        wanted = number * (at + 1) // len(opened) - number * at // len(opened)
        for question in _spread(source, wanted, limit):
            names = [f"{image.sha256}.{image.format}" for image in question.images]
            for name, image in zip(names, question.images, strict=True):
                store.write(name, image.data)
            answer = [question.answer, *question.answers] if question.answers else question.answer
            row = {
                "id": f"{question.source}/{question.source_id}",
                "question": question.text,
                "images": names,
                "answer": answer,
                "choices": list(question.choices) or None,
                "kind": question.kind,
                "unit": question.unit,
                "language": question.language,
                "history": [{"role": turn.role, "content": turn.text} for turn in question.history],
            }
            lines.append(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    if not lines:
        raise ConfigError(
            "The sources have no question with an answer to hold out.",
            remedy="Name evaluation sources: evaluate: {sources: [...]}.",
        )
    store.write("rows.jsonl", "".join(lines).encode())
    # Whole, for relative paths start in the data root of whoever reads it.
    declared = {**_DECLARATION, "files": str(folder.resolve() / "rows.jsonl")}
    store.write(f"{NAME}.yaml", json.dumps(declared, indent=1).encode())  # JSON is YAML
    return len(lines)


def _spread(source: Source, wanted: int, limit: int | None) -> Iterator[Question]:
    """Up to `wanted` questions with an answer, spread over the rows; where a row is none, the next one that is."""
    index = source.index(limit)
    last = -1
    for place in range(min(wanted, index.rows)):
        row = max(last + 1, place * index.rows // min(wanted, index.rows))
        end = (place + 1) * index.rows // min(wanted, index.rows)
        for last in range(row, end):
            item = next(iter(source.read(index, last, last + 1)))
            if isinstance(item, Question) and item.kind != "none":
                yield item
                break
