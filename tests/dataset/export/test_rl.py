"""`mmpr export --to rl`: the questions of a band of solve rates, in each layout, with the checker as their reward."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import PIL.Image
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.export import export
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from tests.dataset.built import build_made
from tests.pipeline.test_golden import finished

BAND = "0.1:0.9"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_made(tmp_path_factory.mktemp("made"), questions=20, open_ended=4)


@pytest.fixture(scope="module")
def wanted(out: Path) -> dict[str, dict[str, Any]]:
    """The questions of the band, counted from the rollouts themselves and not from the questions' own counts."""
    rows, outcomes = dict[str, dict[str, Any]](), dict[str, list[str]]()
    for shard in range(2):
        for batch in record_batches(out / layout.shard_key("questions", shard, 2)):
            rows |= {row["question_id"]: row for row in batch.to_pylist() if row["kind"] != "none"}
        for batch in record_batches(out / layout.shard_key("rollouts", shard, 2)):
            for row in batch.to_pylist():
                if row["outcome"] in ("correct", "incorrect", "unparseable") and row["parent"] is None:
                    outcomes.setdefault(row["question_id"], []).append(row["outcome"])
    rate = {key: found.count("correct") / len(found) for key, found in outcomes.items() if key in rows}
    kept = {key: rows[key] | {"rate": rate[key]} for key in rate if 0.1 <= rate[key] <= 0.9}
    assert 0 < len(kept) < len(rows), "the test needs questions in the band and out of it"
    return kept


def reward_module(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("reward", folder / "reward.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_band_and_what_is_left_out(out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    found = export(out, "rl", tmp_path / "rl", solve_rate=BAND)
    table = pq.read_table(tmp_path / "rl" / "data" / "train.parquet").to_pylist()
    assert {row["question_id"]: row["solve_rate"] for row in table} == {k: v["rate"] for k, v in wanted.items()}
    assert found.rows == len(table)
    assert found.rows + sum(found.left_out.values()) == 24
    assert found.left_out["no_gold"] == 4


def test_trl_rows_and_reward(out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout="trl")
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "rl/data/*.parquet"), split="train",
                                 cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert len(rows) == len(wanted)
    assert isinstance(rows[0]["images"][0], PIL.Image.Image)
    assert [part["type"] for part in rows[0]["prompt"][0]["content"]].count("image") == len(rows[0]["images"])
    columns = {name: rows[name][:] for name in rows.column_names if name not in ("prompt", "images", "solution")}
    right = [[{"role": "assistant", "content": f"Final answer: {gold}"}] for gold in rows["solution"]]
    wrong = [[{"role": "assistant", "content": f"Final answer: {int(gold) + 7}"}] for gold in rows["solution"]]
    reward = reward_module(tmp_path / "rl").reward
    assert reward(completions=right, solution=rows["solution"][:], **columns) == [1.0] * len(rows)
    assert reward(completions=wrong, solution=rows["solution"][:], **columns) == [0.0] * len(rows)


def test_verl_rows_and_reward(out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout="verl")
    rows = pq.read_table(tmp_path / "rl/data/train.parquet").to_pylist()
    assert len(rows) == len(wanted)
    for row in rows:
        assert row["prompt"][0]["content"].count("<image>") == len(row["images"])
        PIL.Image.open(io.BytesIO(row["images"][0]["bytes"])).verify()
        score, gold = reward_module(tmp_path / "rl").compute_score, row["reward_model"]["ground_truth"]
        assert score(row["data_source"], f"Final answer: {gold}", gold, row["extra_info"]) == 1.0
        assert score(row["data_source"], "Final answer: 987", gold, row["extra_info"]) == 0.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_it_with_our_reward(tmp_path: Path) -> None:
    """The embedded model answers some of its own questions rightly, so the reward differs within a group."""
    pytest.importorskip("trl")
    from transformers import AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    from mmpr_pipeline.models.resolve import resolve_model

    plan = make_build_plan(load_config(None, {
        "sources": ["nano_grid"], "limit": 12, "shards": 1, "out": str(tmp_path / "out"), "engine.name": "scripted",
        "screening.decontaminate": False,
    }))  # fmt: skip
    finished(plan, make_engine(plan.config.engine))
    export(tmp_path / "out", "rl", tmp_path / "rl", solve_rate="0:1", layout="trl")
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "rl/data/*.parquet"), split="train",
                                 cache_dir=str(tmp_path / "cache"))  # fmt: skip
    checker, seen = reward_module(tmp_path / "rl").reward, dict[str, float | None]()

    def reward(completions: Any, solution: Any, **columns: Any) -> list[float | None]:
        given = checker(completions=completions, solution=solution, **columns)
        seen.update((f"{gold}: {c[-1]['content']}", r) for c, gold, r in zip(completions, solution, given, strict=True))
        return given

    model = str(resolve_model("nano").path)
    config = GRPOConfig(
        output_dir=str(tmp_path / "run"), per_device_train_batch_size=8, num_generations=8, max_steps=2, seed=0,
        max_completion_length=64, learning_rate=1e-3, logging_steps=1, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True, bf16=False, gradient_checkpointing=False, model_init_kwargs={"dtype": "float32"},
    )  # fmt: skip
    processor = AutoProcessor.from_pretrained(model)
    trainer = GRPOTrainer(model, reward_funcs=[reward], args=config, train_dataset=rows, processing_class=processor)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert {0.0, 1.0} <= set(seen.values()), "right and wrong answers"
    assert max(entry.get("grad_norm", 0) for entry in trainer.state.log_history) > 0
    assert any(not value.equal(before[name]) for name, value in trainer.model.state_dict().items())


def test_nemo_rl_reads_it_as_mmpr_tiny(out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout="nemo-rl")
    assert (tmp_path / "rl" / ".mmpr_ready").is_file()
    rows = pq.read_table(tmp_path / "rl" / "mmpr_tiny.parquet").to_pylist()
    assert {row["extra_info"]["question_id"] for row in rows} == set(wanted)
    assert all((tmp_path / "rl" / row["images"][0]["path"]).is_file() for row in rows)
    assert all(row["prompt"][0]["role"] == "user" and row["reward_model"]["ground_truth"] for row in rows)
    # Its loader asks what stands in `question`: that must be the whole prompt, with the instruction and the image.
    assert all(row["extra_info"]["question"] == row["prompt"][0]["content"] for row in rows)
    assert all("Final answer" in row["extra_info"]["question"] for row in rows)


@pytest.mark.parametrize("name", ["swift", "openrlhf"])
def test_json_lines(name: str, out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout=name)
    rows = [json.loads(text) for text in (tmp_path / "rl" / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(wanted)
    assert all((tmp_path / "rl" / path).is_file() for row in rows for path in row["images"])
    assert all(turn["content"].count("<image>") == 1 for row in rows for turn in row.get("messages", row.get("prompt")))
    if name == "openrlhf":
        golds = [json.loads(row["label"])["solution"] for row in rows]
        asked, labels = ["Q:"] * len(rows), [row["label"] for row in rows]
        queries = [f"Q:Final answer: {gold}" for gold in golds]
        found = reward_module(tmp_path / "rl").reward_func(queries, asked, labels)
        assert found["rewards"].tolist() == [1.0] * len(rows)


def test_swift_finds_the_reward_under_its_name(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ms-swift loads `--external_plugins`: the file is imported, and `orms` then has the function's name."""
    rewards = ModuleType("swift.rewards")
    rewards.ORM, rewards.orms = object, {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "swift", ModuleType("swift"))
    monkeypatch.setitem(sys.modules, "swift.rewards", rewards)
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout="swift")
    reward_module(tmp_path / "rl")
    rows = [json.loads(text) for text in (tmp_path / "rl" / "train.jsonl").read_text().splitlines()]
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in ("messages", "images", "solution")}
    golds = [row["solution"] for row in rows]
    scored = rewards.orms["mmpr"]()([f"Final answer: {gold}" for gold in golds], golds, **columns)
    assert scored == [1.0] * len(rows)


@pytest.mark.parametrize("given", [{"solve_rate": "0.8:0.2"}, {"solve_rate": "x"}, {"layout": "none"}])
def test_bad_settings_stop_at_once(given: dict[str, str], out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        export(out, "rl", tmp_path / "rl", **given)
    with pytest.raises(ConfigError, match="no option solve_rate"):
        export(out, "trl", tmp_path / "rl", solve_rate="0.2:0.8")
