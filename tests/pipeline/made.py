"""Sources and outputs made for tests."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

DECLARATION = """
name: made
description: Questions made for tests.
files: rows.jsonl
columns: {id: id, question: question, answer: answer, image: image}
kind: {column: kind}
text_only: true
"""


def make_source(folder: Path, *, questions: int, open_ended: int = 0) -> Path:
    """A source of number questions, each with an image, and open-ended ones; returns its declaration."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"q{i}", "question": f"How many in picture {i}?", "answer": str(i % 17), "kind": "number"}
        for i in range(questions)
    ]
    rows += [
        {"id": f"d{questions + i}", "question": f"Describe picture {i}.", "kind": "none"} for i in range(open_ended)
    ]
    for i, row in enumerate(rows):
        row["image"] = f"{i % 7}.png"
        (folder / row["image"]).write_bytes(png((i % 7 * 30, 90, 200)))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    declaration = folder / "made.yaml"
    declaration.write_text(DECLARATION)
    return declaration


def png(colour: tuple[int, int, int], size: tuple[int, int] = (12, 8)) -> bytes:
    """A small picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def files_of(out: Path) -> dict[str, bytes]:
    """Every data file and manifest of an output, by name."""
    kinds = ("pairs", "images", "rollouts", "questions", "manifests")
    return {str(p.relative_to(out)): p.read_bytes() for kind in kinds for p in sorted((out / kind).glob("*"))}
