from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, StoreError, TrainingError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.run import loop, preparation, step
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import TrainingView, read_lines
from mmpr_pipeline.training.settings import TrainConfig
from tests.dataset.conftest import IDENTITY, make_outcome
from tests.training import made
from tests.training.ranks import TRAIN, Forked

TIMES = {"seconds", "tokens_per_second", "pairs_per_second", "mfu", "memory_gib"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.dataset(tmp_path_factory.mktemp("data"))


def metrics(run: Path) -> list[dict[str, Any]]:
    """Metrics without what depends on the machine."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_lines(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of 8 steps."""
    run = tmp_path_factory.mktemp("whole")
    result = train(made.settings(model, data, run, epochs=2))
    assert (result.step, result.steps, result.rejected) == (8, 8, {})
    return run


def test_the_first_step_is_that_of_equal_policy_and_reference(whole: Path) -> None:
    first = metrics(whole)[0]
    assert first["loss"] - first["loss/sft"] == pytest.approx(0.8318, abs=1e-4)
    assert first["delta"] == 0
    assert first["pairs"] == 5


def test_training_learns_the_preference(whole: Path) -> None:
    lines = metrics(whole)
    assert lines[-1]["loss"] < lines[0]["loss"] - 1
    assert lines[-1]["reward/margin"] > 1
    assert lines[-1]["reward/accuracy"] == 1
    assert lines[2]["delta"] != 0


def test_images_are_cut_into_as_many_tiles_as_were_sampled(model: Path, tmp_path: Path) -> None:
    """A source of 24 tiles (MMPR's own InfoVQA) was sampled with them: training on 12 would show a coarser image."""
    outcome = make_outcome(6)  # an image of 23 x 10 px: seven by three tiles fit it best, of at most twelve five by two
    wide = replace(outcome, row=outcome.row.model_copy(update={"tiles": 24}))
    data = made.dataset(tmp_path / "data", [wide], shards=1)
    described: dict[str, Any] = {"digest": IDENTITY, "identity": {}, "sources": [{"name": "bars", "tiles": 24}]}
    open_store(data).write(layout.CONFIG, json_bytes(described))
    heard: list[str] = []

    class View(TrainingView):
        def message(self, lines: str | Sequence[str]) -> None:
            heard.append(str(lines))

    def tiles(name: str, **more: Any) -> int:
        train(made.settings(model, data, tmp_path / name, batch=1, token_budget=4096, max_steps=1, **more), view=View())
        return int(metrics(tmp_path / name)[0]["tiles"])

    assert tiles("all") == 7 * 3 + 1
    assert not [line for line in heard if "max_tiles" in line]
    assert tiles("few", max_tiles=12) == 5 * 2 + 1
    assert [line for line in heard if "max_tiles" in line] == [
        "max_tiles cuts images into at most 12 tiles; sources ask for up to 24, and so were sampled."
    ]
    described["sources"] = [{"name": "bars"}]  # by a version whose engines were planned for 12
    open_store(data).write(layout.CONFIG, json_bytes(described))
    assert tiles("older") == 5 * 2 + 1


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(model: Path, data: Path, whole: Path, tmp_path: Path) -> None:
    config = made.settings(model, data, tmp_path / "run", epochs=2, checkpoint_every=3, write_behind=False)
    settings = tmp_path / "settings.json"
    settings.write_text(config.model_dump_json())
    killed = Forked(TRAIN, [str(settings), "--kill-after", "5"], os.environ, tmp_path / "output")
    assert killed.wait(280) == -signal.SIGKILL  # the last checkpoint is that of step 3: mid-epoch
    assert CheckpointPlace(tmp_path / "run").steps() == [3]
    train(config, resume=True)
    assert metrics(tmp_path / "run") == metrics(whole)


def test_shards_in_an_object_store_train_alike(model: Path, whole: Path, tmp_path: Path, s3_bucket: str) -> None:
    data = made.dataset(f"s3://{s3_bucket}/data")
    train(made.settings(model, data, tmp_path / "run", epochs=2, max_steps=2))
    assert metrics(tmp_path / "run") == metrics(whole)[:2]
    assert open_store(data).list("reference/")  # scored once, kept beside the shards


def test_a_finished_run_is_not_overwritten(model: Path, data: Path, whole: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        train(made.settings(model, data, whole, epochs=2))
    with pytest.raises(ConfigError, match=r"lr: 0\.01 -> 0\.02"):
        train(made.settings(model, data, whole, epochs=2, lr=0.02), resume=True)


def test_two_runs_cannot_share_a_directory(model: Path, data: Path, tmp_path: Path) -> None:
    with open_store(tmp_path).lease(), pytest.raises(StoreError, match="process"):
        train(made.settings(model, data, tmp_path))
    assert not (tmp_path / "run.json").exists()


def test_bad_pairs_are_left_out_by_name_and_counted(model: Path, tmp_path: Path) -> None:
    outcomes = [make_outcome(n) for n in (0, 1, 2, 5, 6, 10)]
    blank = outcomes[0].pairs[0].model_copy(update={"chosen": " \n"})
    lost = [pair.model_copy(update={"images": ("0" * 64,)}) for pair in outcomes[1].pairs]
    long = outcomes[3].pairs[0].model_copy(update={"rejected": "bars " * 900})
    unmarked = [pair.model_copy(update={"prompt": "no mark"}) for pair in outcomes[4].pairs]
    outcomes[0] = _with(outcomes[0], [blank, *outcomes[0].pairs[1:]])
    outcomes[1] = _with(outcomes[1], lost)
    outcomes[3] = _with(outcomes[3], [long, *outcomes[3].pairs[1:]])
    outcomes[4] = _with(outcomes[4], unmarked)
    data = made.dataset(tmp_path / "data", outcomes, shards=2)
    result = train(made.settings(model, data, tmp_path / "run", batch=20))
    assert result.rejected == {"empty_response": 1, "missing_image": 2, "pair_over_budget": 1, "image_marks": 2}
    (line,) = metrics(tmp_path / "run")
    assert line["pairs"] + line["rejected"] == sum(len(o.pairs) for o in outcomes)
    assert {r["source_id"] for r in read_lines(tmp_path / "run" / "rejects.jsonl")} == {"q0", "q1", "q5", "q6"}
    # With a larger budget the pair that was too long is scored after all.
    again = train(made.settings(model, data, tmp_path / "again", batch=20, token_budget=2048))
    assert "pair_over_budget" not in again.rejected


def _with(outcome: Any, pairs: list[Any]) -> Any:
    from dataclasses import replace

    return replace(outcome, pairs=tuple(pairs))


def test_gradients_are_means_over_the_pairs_that_were_used(model: Path, tmp_path: Path) -> None:
    """A step with a bad pair has the losses and the gradient of the same step without it."""
    good = [make_outcome(n) for n in (0, 5)]
    bad = _with(good[0], [*good[0].pairs, good[0].pairs[0].model_copy(update={"rejected": "", "pair_id": "f" * 32})])
    bad = _with(bad, bad.pairs)
    bad = type(bad)(bad.row.model_copy(update={"pairs": 3}), bad.images, bad.rollouts, bad.pairs)
    lines = []
    for name, outcomes, batch in (("a", good, 4), ("b", [bad, good[1]], 5)):
        data = made.dataset(tmp_path / f"data-{name}", outcomes, shards=1)
        train(made.settings(model, data, tmp_path / name, batch=batch, epochs=1))
        lines += metrics(tmp_path / name)
    assert lines[1]["rejected"] == 1
    assert lines[1]["loss"] == pytest.approx(lines[0]["loss"], abs=1e-6)
    assert lines[1]["grad_norm"] == pytest.approx(lines[0]["grad_norm"], rel=1e-5)


def test_a_loss_that_is_not_a_number_stops_without_a_checkpoint(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = step.mixed

    def broken(*args: Any) -> Any:
        terms = before(*args)
        return type(terms)(terms.total * float("nan"), terms.terms) if args[3] else terms  # from the second step on

    monkeypatch.setattr(step, "mixed", broken)
    with pytest.raises(TrainingError, match=r"loss is nan at step 2[\s\S]*lower learning rate"):
        train(made.settings(model, data, tmp_path, checkpoint_every=3))
    assert CheckpointPlace(tmp_path).steps() == []
    assert [line["step"] for line in metrics(tmp_path)] == [0, 1]


def test_a_reference_of_another_model_is_noticed_at_step_0(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = made.model_folder(tmp_path / "other", seed=5)
    config = made.settings(model, data, tmp_path / "run", reference="online")
    fill = preparation.fill
    second = preparation.stored_weights(other, preparation.empty_model(other))
    stored = iter([None, second])  # the policy's own weights, then those of another model for its reference

    def filled(policy: Any, own: Any, *more: Any) -> None:
        fill(policy, next(stored) or own, *more)

    monkeypatch.setattr(preparation, "fill", filled)
    with pytest.raises(TrainingError, match=r"first step's preference loss"):
        train(config)


def test_a_full_disk_leaves_earlier_checkpoints_and_nothing_else(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made.settings(model, data, tmp_path, max_steps=1)
    train(config)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(loop.Metrics, "write", lambda *args: None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))  # the disk takes no file above 300 kB
    try:
        with pytest.raises(StoreError, match=r"step 2 cannot be written[\s\S]*Free some space"):
            train(config.model_copy(update={"max_steps": 2}), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert train(config.model_copy(update={"max_steps": 3}), resume=True).step == 3


@pytest.mark.parametrize(
    "options",
    [
        {"lora": {"rank": 4}},
        *(
            pytest.param(breadth, marks=pytest.mark.campaign)
            for breadth in ({"freeze": ["vision"]}, {"reference": "online"}, {"loss": "orpo"})
        ),
        {"loss": "tr_dpo+sft", "follow_every": 2},
        {"loss": "ipo+sft", "recompute": "matmuls"},
    ],
)
def test_other_ways_to_train_resume_too(model: Path, data: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    config = made.settings(model, data, tmp_path / "a", **options)
    train(config)
    halves = config.model_copy(update={"run_dir": str(tmp_path / "b")})
    train(halves.model_copy(update={"max_steps": 3}))
    train(halves, resume=True)
    assert metrics(tmp_path / "b") == metrics(tmp_path / "a")
    assert len(metrics(tmp_path / "a")) == 4


def test_impossible_settings_are_refused_with_a_remedy(model: Path, data: Path, tmp_path: Path) -> None:
    from mmpr_pipeline.training.settings import load_train_config, parse_weights

    given = {"data": str(data), "run_dir": str(tmp_path), "model": str(model)}
    for wrong, said in (
        ({"reference": "adapter_off"}, "needs lora"),
        ({"freeze": ["vision", "projector", "language"]}, "nothing is left"),
        ({"loss": "tr_dpo", "reference": "stored"}, "online"),
        ({"batch": 0}, "batch"),
        ({"learning": 1}, "learning"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_train_config(None, {**given, **wrong})
    assert parse_weights("dpo=0.8, bco=0.2,sft=1") == {"dpo": 0.8, "bco": 0.2, "sft": 1.0}
    with pytest.raises(ConfigError, match="Could not parse the loss weights"):
        parse_weights("dpo:0.8")
    with pytest.raises(ConfigError, match="Unknown loss"):
        train(TrainConfig(**given, loss="mpoo"))
    with pytest.raises(ConfigError, match="float32"):
        train(TrainConfig(**given, dtype="bfloat16", launch={"device": "cpu"}))


def test_the_resolved_settings_are_saved(whole: Path) -> None:
    saved = json.loads((whole / "run.json").read_text())
    assert saved["config"]["beta"] == 0.1
    computed = {"device": "CPU", "ranks": 1, "dtype": "torch.float32", "attention": "sdpa"}
    computed |= {"layers": "eager", "recompute": "matmuls", "recompute_vision": "matmuls", "token_budget": 512}
    assert saved["computed"] == computed
    assert saved["identity"]["model"].startswith("model")
    assert set(saved["versions"]) == {"mmpr", "torch", "transformers"}
