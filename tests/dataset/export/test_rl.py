"""`mmpr export --to rl`: the questions of a band of solve rates, in each layout, with the checker as their reward."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.export import export
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from tests.dataset.built import build_made

BAND = "0.1:0.9"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_made(tmp_path_factory.mktemp("made"), questions=20, open_ended=4)


@pytest.fixture(scope="module")
def wanted(out: Path) -> dict[str, dict[str, Any]]:
    """The questions of the band, counted from the rollouts themselves and not from the questions' own counts."""
    rows, outcomes = dict[str, dict[str, Any]](), dict[str, list[str]]()
    for shard in range(2):
        for batch in record_batches(out / layout.data("questions", shard, 2)):
            rows |= {row["question_id"]: row for row in batch.to_pylist() if row["kind"] != "none"}
        for batch in record_batches(out / layout.data("rollouts", shard, 2)):
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
    assert found.pairs == len(table)
    assert found.pairs + sum(found.left_out.values()) == 24
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


def test_nemo_rl_reads_it_as_mmpr_tiny(out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout="nemo-rl")
    assert (tmp_path / "rl" / ".mmpr_ready").is_file()
    rows = pq.read_table(tmp_path / "rl" / "mmpr_tiny.parquet").to_pylist()
    assert {row["extra_info"]["question_id"] for row in rows} == set(wanted)
    assert all((tmp_path / "rl" / row["images"][0]["path"]).is_file() for row in rows)
    assert all(row["prompt"][0]["role"] == "user" and row["reward_model"]["ground_truth"] for row in rows)


@pytest.mark.parametrize("name", ["swift", "openrlhf"])
def test_json_lines(name: str, out: Path, wanted: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    export(out, "rl", tmp_path / "rl", solve_rate=BAND, layout=name)
    rows = [json.loads(text) for text in (tmp_path / "rl" / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(wanted)
    assert all((tmp_path / "rl" / path).is_file() for row in rows for path in row["images"])
    if name == "openrlhf":
        golds = [json.loads(row["label"])["solution"] for row in rows]
        asked, labels = ["Q:"] * len(rows), [row["label"] for row in rows]
        queries = [f"Q:Final answer: {gold}" for gold in golds]
        found = reward_module(tmp_path / "rl").reward_func(queries, asked, labels)
        assert found["rewards"].tolist() == [1.0] * len(rows)


@pytest.mark.parametrize("given", [{"solve_rate": "0.8:0.2"}, {"solve_rate": "x"}, {"layout": "none"}])
def test_bad_settings_stop_at_once(given: dict[str, str], out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        export(out, "rl", tmp_path / "rl", **given)
    with pytest.raises(ConfigError, match="belong to --to rl"):
        export(out, "trl", tmp_path / "rl", solve_rate="0.2:0.8")
