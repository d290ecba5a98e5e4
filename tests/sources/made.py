"""Small real rows, for sources in every format."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import PIL.Image


def png_bytes(number: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (number % 256, number // 256 % 256, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def made_rows(count: int) -> list[dict[str, Any]]:
    """Rows as a Parquet file or a struct-typed source has them."""
    return [
        {
            "id": f"q{i}",
            "question": f"What is number {i}?",
            "image": {"bytes": png_bytes(i), "path": None},
            "choices": ["one", "two", f"number {i}"] if i % 3 == 0 else None,
            "answer": f"number {i}" if i % 3 == 0 else str(i),
            "meta": {"kind": "choice" if i % 3 == 0 else "number"},
        }
        for i in range(count)
    ]


BASE: dict[str, Any] = {
    "name": "made",
    "description": "Made for a test.",
    "kind": {"column": "meta.kind"},
    "answer_form": "text",
    "columns": {"id": "id", "question": "question", "image": "image", "choices": "choices", "answer": "answer"},
}


def write_jsonl(path: Path, rows: list[dict[str, Any] | str]) -> Path:
    """Rows as JSON lines with their images as files beside them; a string is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, row in enumerate(rows):
        if isinstance(row, dict) and isinstance(row.get("image"), dict):
            image = path.parent / f"{path.stem}-{number}.png"
            image.write_bytes(row["image"]["bytes"])
            row = {**row, "image": image.name}
        lines.append(row if isinstance(row, str) else json.dumps(row))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path
