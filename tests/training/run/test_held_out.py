"""Held-out questions: never trained on, measured at every checkpoint; the best checkpoint kept and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.data.shards import Shards, hold_out
from mmpr_pipeline.training.run import step
from mmpr_pipeline.training.run.loop import Trainer, train
from mmpr_pipeline.training.run.measuring import best_line
from mmpr_pipeline.training.run.run_folder import read_lines
from mmpr_pipeline.training.settings import load_train_config
from tests.training import made
from tests.training.ranks import said_by_ranks


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained_on() -> set[str]:
    return set()


@pytest.fixture(scope="module")
def run(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory, trained_on: set[str]) -> Path:
    """A run of 8 steps with four of twenty pairs held out; what it trains on is written down."""
    run, patch = tmp_path_factory.mktemp("run"), pytest.MonkeyPatch()

    def spied(batch: PackedBatch) -> None:
        trained_on.update(batch.pair_ids)

    patch.setattr(step, "check_completions", spied)
    result = train(made.settings(model, data, run, epochs=2, held_out=0.2, keep=1, export="best"))
    patch.undo()
    assert (result.step, result.steps) == (8, 8)
    return run


def lines(run: Path) -> list[dict[str, Any]]:
    return read_lines(run / "held_out.jsonl")


def test_whole_questions_are_held_out_and_never_trained_on(run: Path, data: Path, trained_on: set[str]) -> None:
    shards = Shards(open_store(data))
    held = hold_out(shards, 0.2, 1024, 0)
    pairs = {
        (pair.pair_id, pair.question_id, shard, group)
        for shard in range(3)
        for group, size in enumerate(shards[shard].sizes)
        for pair in shards[shard].pairs(group)
    }
    out = {pair for pair, _, shard, group in pairs if group in held.groups.get(shard, ())}
    assert len(out) == 4 == sum(held.pairs.values())
    assert trained_on == {pair for pair, *_ in pairs} - out
    questions = {question for pair, question, *_ in pairs if pair in out}
    assert all(pair in out for pair, question, *_ in pairs if question in questions)


def test_the_default_is_one_in_a_hundred_and_at_most_1024(data: Path) -> None:
    shards = Shards(open_store(data))
    assert hold_out(shards, 0.01, 1024, 0).groups == {}  # of 20 pairs none
    assert sum(hold_out(shards, 0.4, 2, 0).pairs.values()) == 2
    assert hold_out(shards, 0.2, 1024, 0) == hold_out(Shards(open_store(data)), 0.2, 1024, 0)
    seeds = {frozenset(hold_out(shards, 0.2, 1024, seed).groups.items()) for seed in range(8)}
    assert len(seeds) > 1


def test_every_checkpoint_is_measured_and_the_untrained_model_too(run: Path) -> None:
    found = lines(run)
    assert [line["step"] for line in found] == list(range(9))
    first = found[0]
    assert (first["pairs"], first["reward/margin"], first["kl"]) == (
        4,
        pytest.approx(0, abs=1e-5),
        pytest.approx(0, abs=1e-4),
    )
    assert first["loss"] - first["loss/sft"] == pytest.approx(0.8318, abs=1e-4)
    assert found[-1]["accuracy"] >= 0.5
    assert found[-1]["reward/margin"] > 0.05
    assert {"loss/dpo", "loss/bco", "loss/sft", "nll", "reward/chosen", "reward/rejected"} <= set(first)


def test_the_model_answers_the_same_questions_at_every_checkpoint(run: Path, data: Path) -> None:
    found = read_lines(run / "samples.jsonl")
    asked = [line["question_id"] for line in found if line["step"] == 0]
    assert asked
    assert [line["question_id"] for line in found] == asked * 9
    assert [line["step"] for line in found] == [step for step in range(9) for _ in asked]
    shards = Shards(open_store(data))
    held = {shards[each.shard].pairs(each.group)[0].question_id for each in hold_out(shards, 0.2, 1024, 0).slices}
    assert set(asked) <= held
    assert all(isinstance(line["text"], str) for line in found)


def test_the_nll_is_that_of_the_pairs_scored_alone(run: Path, model: Path, data: Path) -> None:
    from mmpr_pipeline.training.data.batch import collate
    from mmpr_pipeline.training.data.encode import PairEncoder
    from mmpr_pipeline.training.policy.load import load_model, load_processor
    from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

    shards = Shards(open_store(data))
    policy = PrefixSharedPolicy(load_model(model))
    encoder = PairEncoder(load_processor(model), policy.bare, policy.family, 12)
    each = []
    for part in hold_out(shards, 0.2, 1024, 0).slices:
        encoded = encoder.encode(shards[part.shard], part.group, part.first, part.stop)
        assert encoded.group is not None
        batch = collate([encoded.group], [encoded.images])
        with torch.no_grad():
            scores = policy(batch).responses
        each += (-scores[batch.chosen] / batch.lengths[batch.chosen]).tolist()
    assert lines(run)[0]["nll"] == pytest.approx(sum(each) / 4, abs=1e-5)


def test_the_best_checkpoint_is_kept_beside_the_newest_and_exported(run: Path) -> None:
    best = json.loads((run / "best.json").read_text())
    line = best_line(run, CheckpointPlace(run).steps(), "accuracy")
    assert line is not None
    assert best == {"step": line["step"], "by": "accuracy", "value": line["accuracy"]}
    assert line["accuracy"] == max(each["accuracy"] for each in lines(run)[1:])
    assert CheckpointPlace(run).steps() == sorted({best["step"], 8})
    assert (run / "best" / "model.safetensors").is_file()


def test_the_export_is_of_the_best_weights(model: Path, data: Path, tmp_path: Path) -> None:
    """By the margin a run with a soaring rate is best before its end."""
    options: dict[str, Any] = {"epochs": 2, "held_out": 0.2, "keep": 1, "best_by": "nll", "lr": 0.05, "loss": "dpo"}
    train(made.settings(model, data, tmp_path / "run", export="best", **options))
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["step"] < 8
    short = made.settings(model, data, tmp_path / "short", export="newest", max_steps=best["step"], **options)
    train(short)
    ours, expected = ((tmp_path / place / "model.safetensors").read_bytes() for place in ("run/best", "short/newest"))
    assert ours == expected


def test_a_resumed_run_measures_the_same(run: Path, model: Path, data: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    settings = made.settings(model, data, again, epochs=2, held_out=0.2, keep=1)
    train(settings.model_copy(update={"max_steps": 3}))
    train(settings, resume=True)
    assert lines(again) == lines(run)
    assert json.loads((again / "best.json").read_text()) == json.loads((run / "best.json").read_text())


def test_a_run_that_is_asked_to_stop_does_not_measure_first(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    right = Trainer._measure

    def spied(self: Trainer, step: int, *rest: Any) -> None:
        if step == 2:
            self.stopping.set()
        right(self, step, *rest)
        measured.append(step)

    monkeypatch.setattr(Trainer, "_measure", spied)
    result = train(made.settings(model, data, tmp_path / "run", held_out=0.2))
    assert result.interrupted
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 1]
    assert measured[-1] == 2


def test_the_best_of_nothing_measured_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No pair is held out"):
        train(made.settings(model, data, tmp_path / "run", export="best", max_steps=1))


def test_export_best_goes_to_the_run_directory(tmp_path: Path) -> None:
    config = load_train_config(None, {"data": "pairs", "run_dir": str(tmp_path), "export": "best"})
    assert (config.export, config.exported) == (f"{tmp_path}/best", "best")
    config = load_train_config(None, {"data": "out/pairs", "export": "best"})
    assert (config.export, config.exported) == ("runs/pairs/best", "best")


@pytest.mark.slow
@pytest.mark.campaign
def test_two_ranks_measure_what_one_measures(run: Path, model: Path, data: Path, tmp_path: Path) -> None:
    """Four held-out pairs: one rank may have fewer micro-batches than the other, or none."""
    settings = made.settings(model, data, tmp_path / "run", epochs=2, held_out=0.2, keep=1, export="best")
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    said_by_ranks([str(tmp_path / "settings.json")])
    ours, one = lines(tmp_path / "run"), lines(run)
    assert len(ours) == len(one) == 9
    for two, alone in zip(ours, one, strict=True):
        for name in ("accuracy", "nll", "loss", "reward/margin", "loss/dpo", "loss/bco"):
            assert two[name] == pytest.approx(alone[name], abs=2e-4), (alone["step"], name)
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()
    said, alone_said = (read_lines(folder / "samples.jsonl") for folder in (tmp_path / "run", run))
    assert [line["text"] for line in said if not line["step"]] == [x["text"] for x in alone_said if not x["step"]]
    assert len(said) == len(alone_said) > 9
