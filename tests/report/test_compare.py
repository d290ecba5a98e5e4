from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.report.compare import compare_outputs
from mmpr_pipeline.report.pages.diff_page import diff_page
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_shard
from tests.report.conftest import ATTACK


def test_two_outputs_are_joined_by_question(two: tuple[Path, Path]) -> None:
    found = compare_outputs(*two)
    assert (found["questions"], found["only"]) == (2, [1, 1])
    assert found["flipped"]["gained"]["questions"] == 1
    assert found["flipped"]["lost"]["examples"][0]["right"] == [[3, 4], [1, 4]]
    (source,) = found["sources"]
    assert source["right"] == [0.5, 0.5]
    assert found["verdicts"]["compared"] == 4, "rollouts with another text are other rollouts"
    assert [(row["from"], row["to"], row["rollouts"]) for row in found["verdicts"]["changed"]] == [
        ("correct", "incorrect", 2)
    ]
    assert found["pairs"] == {"both": 3, "gained": 2, "lost": 3}


def test_an_output_against_itself_differs_in_nothing(two: tuple[Path, Path]) -> None:
    found = compare_outputs(two[0], two[0])
    assert found["verdicts"]["changed"] == []
    assert [group["questions"] for group in found["flipped"].values()] == [0, 0]
    assert (found["pairs"]["gained"], found["pairs"]["lost"]) == (0, 0)


def test_outputs_of_other_questions_are_not_compared(two: tuple[Path, Path], tmp_path: Path) -> None:
    write_shard(open_store(tmp_path / "third"), 0, 1, [make_outcome(0, "other")])
    with pytest.raises(DatasetError, match="no question in common"):
        compare_outputs(two[0], tmp_path / "third")


def test_the_page_holds_hostile_text_as_text(two: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare_outputs(*two)
    found["names"] = [ATTACK, "b"]
    html = diff_page(found, tmp_path / "diff.html").read_text("utf-8")
    assert html.count("<script>") == 1
    assert "&lt;script&gt;window.attacked" in html
    assert "No longer solved" in html
    assert "Newly solved" in html
