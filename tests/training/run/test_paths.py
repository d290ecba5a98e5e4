"""Models of other families, trained as a user would: from a folder, through the real processor, to an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.policy.families.family import Family, PaliGemma
from mmpr_pipeline.training.policy.load import load_model
from mmpr_pipeline.training.run import fitting as paths
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import TrainingView, read_lines
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


QUICK = ("llava_next", "paligemma")  # layers that no gradient reaches; a prompt that sees itself in both directions


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.campaign) for n in zoo_folders.PROCESSORS],
)
def test_a_type_trains_resumes_and_is_exported(name: str, tmp_path: Path) -> None:
    """On questions with one image, none and two, through the processor that transformers has for the type."""
    model = zoo_folders.folder(name, tmp_path / "model")
    data = made.dataset(tmp_path / "data", made.outcomes_of_images())
    config = made.settings(model, data, tmp_path / "run", lr=3e-3, token_budget=2048)
    assert train(config.model_copy(update={"max_steps": 2})).rejected == {}
    result = train(config.model_copy(update={"export": str(tmp_path / "out")}), resume=True)
    assert (result.step, result.rejected) == (4, {})
    whole = train(config.model_copy(update={"run_dir": str(tmp_path / "whole")}))
    assert whole.step == 4
    ours, theirs = (read_lines(tmp_path / run / "metrics.jsonl") for run in ("run", "whole"))
    assert ours[0]["loss"] - ours[0]["loss/sft"] == pytest.approx(0.8318, abs=1e-3)
    assert [line["loss"] for line in ours] == [line["loss"] for line in theirs]
    loaded, info = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    before = dict(load_model(model).named_parameters())
    stuck = [n for n, value in loaded.named_parameters() if torch.equal(value, before[n])]
    assert not [n for n in stuck if "vision_tower" not in n]


def test_a_model_that_reads_its_response_in_both_directions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PaliGemma, with the token types of a prompt for all of the row: losses would fall, and mean nothing."""
    monkeypatch.setattr(PaliGemma, "text_inputs", lambda self, model, ids, prompts: {"token_type_ids": ids * 0})
    monkeypatch.setattr(paths, "CHECKED", frozenset())
    model, data = zoo_folders.folder("paligemma", tmp_path / "model"), made.dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match="paligemma reads a response in both directions"):
        train(made.settings(model, data, tmp_path / "run"))


def test_what_fails_with_shared_prefixes_takes_the_plain_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object, model: object, batch: object) -> None:
        raise NotImplementedError("axes of its own")

    monkeypatch.setattr(Family, "positions", fails)
    _, said = run("vipllava", tmp_path)
    assert "vipllava cannot share prefixes (axes of its own)" in said


def test_paths_are_compared_on_a_question_with_an_image_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of pairs whose responses begin alike."""
    compared: list[PackedBatch] = []

    def kept(policy: object, batch: PackedBatch) -> float:
        compared.append(batch)
        return 0.0

    monkeypatch.setattr(paths, "path_difference", kept)
    outcomes = [o for o in made.outcomes_of_images() if [p for p in o.pairs if p.strategy == "dropout_ntp"]]
    outcomes.sort(key=lambda outcome: len(outcome.images))
    assert not outcomes[0].images
    model = zoo_folders.folder("vipllava", tmp_path / "model")
    data = made.dataset(tmp_path / "data", outcomes, shards=1)
    train(made.settings(model, data, tmp_path / "run", batch=1, max_steps=1, held_out=0.0))
    assert compared[0].images


def test_an_unlisted_type_is_compared_before_it_trains(tmp_path: Path) -> None:
    _, said = run("vipllava", tmp_path)
    assert "vipllava: shared prefixes compared with the model's own forward" in said
    assert "Learning rate 3e-03 is far above what newer models whose recipes are known took" in said


def test_an_unlisted_type_that_differs_takes_the_plain_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that counts positions in a way of its own: what the comparison is there for."""
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
