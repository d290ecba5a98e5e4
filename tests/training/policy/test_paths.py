"""Models of other families, trained as a user would: from a folder, through the real processor, to an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.training.policy import paths
from mmpr_pipeline.training.run.console import TrainingView
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.metrics import read_lines
from tests.training import made, zoo_folders


class Heard(TrainingView):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, lines: Any) -> None:
        self.lines += [lines] if isinstance(lines, str) else lines


def run(name: str, tmp_path: Path, **more: Any) -> tuple[list[dict[str, Any]], str]:
    model = zoo_folders.folder(name, tmp_path / "model")
    data = made.dataset(tmp_path / "data")
    heard = Heard()
    settings = made.settings(model, data, tmp_path / "run", epochs=2, export=str(tmp_path / "out"), lr=3e-3, **more)
    result = train(settings, heard)
    assert (result.step, result.rejected) == (8, {})
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert lines[0]["loss"] - lines[0]["loss/sft"] == pytest.approx(0.8318, abs=1e-3)
    assert lines[-1]["loss"] < lines[0]["loss"]
    return lines, "\n".join(heard.lines)


def test_a_mixture_of_experts_trains_with_its_auxiliary_loss(tmp_path: Path) -> None:
    lines, said = run("qwen3_vl_moe", tmp_path)
    assert lines[0]["imbalance"] > 2.0  # two experts a token
    assert "share" not in said


def test_a_model_with_linear_attention_trains_by_the_plain_path_and_says_what_it_costs(tmp_path: Path) -> None:
    _, said = run("qwen3_5", tmp_path)
    assert "qwen3_5 cannot share prefixes (layers of type linear_attention" in said
    assert "times the tokens" in said


def test_an_unlisted_type_is_compared_before_it_trains(tmp_path: Path) -> None:
    _, said = run("vipllava", tmp_path)
    assert "vipllava: shared prefixes compared with the model's own forward" in said
    assert "Learning rate 3e-03 is far above what newer models whose recipes are known took" in said


def test_an_unlisted_type_that_differs_takes_the_plain_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that counts positions in a way of its own: what the comparison is there for."""
    from mmpr_pipeline.training.policy.families.family import Family

    right = Family.positions
    monkeypatch.setattr(Family, "positions", lambda self, model, batch: right(self, model, batch) // 2)
    lines, said = run("vipllava", tmp_path)
    assert "vipllava cannot share prefixes (log-probs" in said
    monkeypatch.setattr(Family, "positions", right)
    monkeypatch.setattr(paths, "CHECKED", {"vipllava"})
    again, said = run("vipllava", tmp_path / "again")
    assert "share" not in said
    assert lines[0]["nll"] == pytest.approx(again[0]["nll"], abs=1e-4)
    assert lines[-1]["loss"] == pytest.approx(again[-1]["loss"], abs=1e-2)
