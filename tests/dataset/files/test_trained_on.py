"""What a model was trained on: written from a built dataset, read beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.dataset.files.trained_on import FILE, read_trained_on, write_trained_on
from mmpr_pipeline.storage import open_store
from tests.records import a_question


def pairs_of(out: Path) -> list[dict[str, Any]]:
    """Every pair of a dataset, as plain data."""
    store = open_store(out)
    shards = shards_of(store)
    files = [store.local_copy(layout.shard_key("pairs", shard, shards)) for shard in range(shards)]
    return [row for file in files for batch in record_batches(file) for row in batch.to_pylist()]


def test_questions_of_the_pairs_are_known_and_others_are_not(out: Path, tmp_path: Path) -> None:
    """And what the base model had seen stays seen."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    made = write_trained_on(str(out), tmp_path / "one")
    pairs = pairs_of(out)
    assert len(made.questions) == len({pair["question_id"] for pair in pairs})
    known = read_trained_on(tmp_path / "one")
    assert known is not None
    asked = a_question(text=pairs[0]["question"]).model_copy(update={"question_id": pairs[0]["question_id"]})
    assert known.question(asked)
    assert known.wording(asked)
    assert not known.image(asked)
    other = a_question(text="Nobody asked this.")
    assert not any(knows(other) for knows in (known.question, known.image, known.wording))
    again = write_trained_on(str(out), tmp_path / "two", tmp_path / "one")
    assert list(again.questions) == list(made.questions)


def test_a_model_that_says_nothing_and_one_that_is_damaged(tmp_path: Path) -> None:
    assert read_trained_on(tmp_path) is None
    assert read_trained_on("org/name") is None
    (tmp_path / FILE).write_bytes(b"PK broken")
    with pytest.raises(DatasetError, match="damaged"):
        read_trained_on(tmp_path)
