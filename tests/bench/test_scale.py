from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources import open_source
from tests.bench.loaded import load

scale = load("scale")


def test_its_questions_are_of_five_kinds_and_each_has_a_picture_of_its_own(tmp_path: Path) -> None:
    source = open_source(str(scale.write_source(tmp_path, 30)), None)
    read = list(source.read(source.index(None), 0, 30))
    asked = [item for item in read if isinstance(item, Question)]
    assert len(asked) == len(read) == 30
    assert {question.kind for question in asked} == {"number", "choice", "math", "text", "yes_no"}
    assert len({question.images[0].sha256 for question in asked}) == 30
    for question in asked:
        assert check_question(question, f"It is plain to see.\nFinal answer: {question.answer}").outcome == "correct"


@pytest.mark.slow
@pytest.mark.campaign
def test_a_build_is_measured_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "LOOK_EVERY", 0.03)  # its one worker is at work for a tenth of a second
    row = scale.measure(Fraction(30, scale.QUESTIONS), 2, tmp_path)
    assert (row["questions"], row["images"], row["shards"]) == (30, 30, 1)
    assert 30 * 32 <= row["rollouts"] <= 30 * 34  # with the continuations of DropNTP
    assert 30 * 9 < row["pairs"] < 30 * 15
    assert row["driver_mb"] > 50
    assert row["worker_mb"] > 50
    assert row["build_s"] > row["build_cpu_s"] / 3 > 0
    assert row["output_mb"] < row["written_mb"]
    assert not list(tmp_path.iterdir())


def test_a_command_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="these are its last words"):
        scale.watched(["sh", "-c", "echo these are its last words; exit 3"], 1, tmp_path / "log")


def test_a_command_that_is_interrupted_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def interrupted(process: psutil.Process, usage: object) -> None:
        seen.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(scale, "_look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scale.watched(["sleep", "60"], 1, tmp_path / "log")
    assert not seen[0].is_running()
