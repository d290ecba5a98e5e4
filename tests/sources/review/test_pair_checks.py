"""`mmpr sources check` on sources that bring pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.review.checks import check_source
from mmpr_pipeline.sources.review.findings import Checked
from tests.pipeline.test_preset import brought


def checked(folder: Path, rows: list[dict[str, Any]], kind: str = "none") -> Checked:
    return check_source(open_source(str(brought(folder, rows, kind, ", answer: answer" if kind != "none" else ""))))


def row(i: int, chosen: str | None, rejected: str | None) -> dict[str, Any]:
    asked = {"question": f"How many dots are in {i}?", "image": f"{i % 4}.png", "answer": str(i)}
    return {**asked, "chosen": chosen, "rejected": rejected}


def found(looked: Checked) -> dict[str, tuple[str, int]]:
    return {
        finding.name: (finding.level, len(finding.rows)) for finding in looked.findings if "image" not in finding.name
    }


def test_good_pairs_have_nothing_wrong(tmp_path: Path) -> None:
    rows = [row(i, f"Final answer: {i}", f"Final answer: {i + 1}" + "!" * (i % 2)) for i in range(12)]
    rows = [{**one, "chosen": one["chosen"] + " yes" * (i % 2)} for i, one in enumerate(rows)]
    assert found(checked(tmp_path / "a", rows, "number")) == {}


def test_swapped_columns_are_an_error(tmp_path: Path) -> None:
    rows = [row(i, f"Final answer: {i + 1}", f"Final answer: {i}") for i in range(12)]
    assert found(checked(tmp_path / "a", rows, "number"))["wrong_preference"] == ("error", 12)
    rows[1:] = [row(i, f"Final answer: {i}", f"Final answer: {i + 1}") for i in range(1, 12)]
    assert found(checked(tmp_path / "b", rows, "number"))["wrong_preference"] == ("warning", 1)


@pytest.mark.parametrize(("missing", "level"), [(1, "warning"), (6, "error")])
def test_rows_without_a_whole_pair(missing: int, level: str, tmp_path: Path) -> None:
    rows = [row(i, "A dog.", None if i < missing else f"{i} cats.") for i in range(12)]
    assert found(checked(tmp_path / "a", rows))["no_preset_pair"] == (level, missing)


def test_the_same_twice_and_one_side_always_longer(tmp_path: Path) -> None:
    rows = [row(i, "A small dog that sits.", " A small dog that sits. " if i < 1 else "A dog.") for i in range(24)]
    looked = found(checked(tmp_path / "a", rows))
    assert looked == {"same_responses": ("warning", 1), "length_bias": ("warning", 23)}
