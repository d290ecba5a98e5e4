"""What the pass keeps of rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.screening.chunks import (
    chunks_of,
    hash_keys,
    hash_sketches,
    is_sound,
    read_chunk,
    read_sketches,
    read_table,
    write_chunk,
    write_table,
)
from mmpr_pipeline.screening.contamination import EvaluationRows
from mmpr_pipeline.screening.settings import ScreeningSettings
from mmpr_pipeline.sources import Source, open_source
from mmpr_pipeline.storage import open_store
from tests.screening.figures import encoded, figure

DECLARATION = """
name: made
description: Made.
files: rows.jsonl
kind: number
columns: {id: id, question: question, answer: answer, image: image}
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Six figures with transparency, which are stored otherwise than they are found; row 4 is torn, row 5 repeats 1."""
    rows = []
    for i in range(6):
        (tmp_path / f"{i % 4}.png").write_bytes(encoded(figure(i % 4).convert("RGBA")))
        row = {"id": str(i), "question": f"How long is side {i % 4}?", "answer": "3", "image": f"{i % 4}.png"}
        rows.append("{torn" if i == 4 else json.dumps(row))
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "made.yaml").write_text(DECLARATION)
    return open_source(str(tmp_path / "made.yaml"))


def test_a_row_is_the_same_whether_or_not_it_is_compared(source: Source) -> None:
    """Else what a mixture takes would change with the evaluation sets."""
    index = source.index()
    alone = hash_keys(source, index, 0, 6, None)
    compared = hash_keys(source, index, 0, 6, EvaluationRows([], ScreeningSettings()))
    assert alone == compared
    keys = alone["key"].to_pylist()
    assert keys[4] is None
    assert keys[1] == keys[5]
    assert len(set(keys)) == 5
    assert hash_keys(source, index, 2, 5, None)["key"].to_pylist() == keys[2:5]


def test_sketches_come_back_as_they_were(source: Source, tmp_path: Path) -> None:
    store, index = open_store(tmp_path / "out"), source.index()
    pieces = chunks_of("sketches", 0, "made", 6)
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 6)]
    write_chunk(store, pieces[0].key, hash_sketches(source, index, 0, 6))
    sketches = list(read_sketches(store, pieces))
    assert [(sketch.row, sketch.source_id, sketch.words) for sketch in sketches] == [
        (row, str(row), 5) for row in (0, 1, 2, 3, 5)
    ]
    found = hash_keys(source, index, 0, 6, EvaluationRows(sketches, ScreeningSettings()))
    assert found["measure"].to_pylist() == ["image", "image", "image", "image", None, "image"]
    assert found["against"].to_pylist() == [0, 1, 2, 3, None, 1]


def test_the_same_table_has_the_same_bytes(source: Source, tmp_path: Path) -> None:
    store, index = open_store(tmp_path / "out"), source.index()
    for name in ("a", "b"):
        write_table(store, f"screening/{name}", hash_keys(source, index, 0, 6, None))
    assert store.read("screening/a") == store.read("screening/b")
    assert read_table(store, "screening/a").num_rows == 6


def test_damaged_and_swapped_pieces_are_not_taken(source: Source, tmp_path: Path) -> None:
    store, index = open_store(tmp_path / "out"), source.index()
    for piece in chunks_of("keys", 0, "made", 4096):
        write_chunk(store, piece.key, hash_keys(source, index, 0, 6, None))
    keys = store.list("screening/")
    assert len(keys) == 2
    assert all(is_sound(store, key) for key in keys)
    whole = store.read(keys[0])
    for damage in (whole[:-9], b"", whole[:40], store.read(keys[1]), whole[:90] + b"\1" + whole[91:]):
        store.write(keys[0], damage)
        assert not is_sound(store, keys[0])
        with pytest.raises(DatasetError, match=r"keys/made-000000000\.arrow is damaged(?s:.)*looks at the rows anew"):
            read_chunk(store, keys[0])
