"""An evaluation on benchmarks as a whole: resumed, compared, told; rows that were trained on; the leader board."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mmpr_pipeline.cli import app
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.files import trained_on
from mmpr_pipeline.dataset.files.trained_on import TrainedOn
from mmpr_pipeline.evaluation import seen
from mmpr_pipeline.evaluation.benchmarks import catalog
from mmpr_pipeline.evaluation.benchmarks.declaration import benchmark_of
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem, as_asked, read_items
from mmpr_pipeline.evaluation.comparison.leaderboard import leaderboard_markdown as board_markdown
from mmpr_pipeline.evaluation.comparison.leaderboard import merged, order_of, read_results
from mmpr_pipeline.evaluation.comparison.table import comparison_markdown, comparison_table
from mmpr_pipeline.evaluation.running import run
from mmpr_pipeline.evaluation.settings import EvalConfig
from tests.evaluation.hub_client import Told

ROWS = 8
DECLARATION = """
name: sums
title: Sums
rows:
  name: sums
  description: Sums.
  role: evaluation
  files: [sums.jsonl]
  kind: number
  text_only: true
  columns: {{id: id, question: question, answer: answer}}
by: {{half: half}}
prompt: {{body: "{{question}}", direct: Say the number.}}
score: checker
metrics: [accuracy]
rows_expected: {rows}
definition: share of right sums
published: [{{model: Elsewhere, value: 50, source: a made-up listing}}]
"""


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A declaration with eight sums beside it; models `good` and `bad` err on one sum, and on five."""
    rows = [{"id": f"s{i}", "question": f"{i} + 1?", "answer": str(i + 1), "half": "ab"[i // 4]} for i in range(ROWS)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(DECLARATION.format(rows=ROWS))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sums.yaml"


class Engines:
    """Starts engines that say what is written down, and counts their starts."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.tiles: list[int] = []
        right = [f"Final answer: {i + 1}" for i in range(ROWS)]
        self.replies = {"good": [*right[:-1], "99"], "bad": [*["99"] * 5, *right[5:]]}

    async def __call__(self, settings: Any) -> Told:
        self.started.append(settings.model)
        self.tiles.append(settings.most_tiles)
        return Told(settings.model, self.replies[settings.model])


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    made = Engines()
    monkeypatch.setattr(run, "start_engines", made)
    return made


def config(benchmark: Path, **more: Any) -> EvalConfig:
    engine = {"name": "scripted", "model": "good", "actors": 0}
    fields = {"benchmarks": [str(benchmark)], "engine": engine, "mode": "direct", "resamples": 500, **more}
    return EvalConfig.model_validate(fields)


def test_engines_plan_for_the_tiles_that_a_benchmark_asks_for(
    benchmark: Path, engines: Engines, tmp_path: Path
) -> None:
    """HR-Bench, V* and VisualProbe ask for 24; scores of fewer tiles, kept by an older version, are not taken."""
    run.run_benchmarks(config(benchmark))
    benchmark.write_text(benchmark.read_text().replace("  kind: number", "  tiles: 24\n  kind: number"))
    run.run_benchmarks(config(benchmark, out=str(tmp_path / "out")))
    assert engines.tiles == [12, 24]
    (kept,) = (tmp_path / "out" / "scored").rglob("*.jsonl")
    assert json.loads(kept.read_text().splitlines()[0])["identity"]["tiles"] == 24


def test_the_table_tells_model_minus_against(benchmark: Path, engines: Engines, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    found = run.run_benchmarks(config(benchmark, against="bad", modes=("cot", "direct"), out=out))
    run.write_tables(found, out)
    told = found["benchmarks"]["sums"]["modes"]["direct"]
    assert {m: each["measures"]["accuracy"]["value"] for m, each in told["models"].items()} == {
        "good": 87.5,
        "bad": 37.5,
    }
    change = told["difference"]["accuracy"]
    assert (change["value"], change["better"], change["worse"]) == (50.0, 5, 1)
    assert told["models"]["good"]["by"]["half"]["a"]["value"] == 100.0
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| benchmark | mode | metric | items | good | bad | good − bad | published |" in text
    assert "+50.0" in text
    assert "Elsewhere 50" in text
    assert (tmp_path / "out" / "table.svg").read_text().startswith("<svg")
    screen = io.StringIO()
    Console(file=screen, width=160).print(comparison_table(found))
    assert "good − bad" in screen.getvalue()


def test_a_share_of_a_hundred_is_not_taken_for_one_of_one_and_published_gains_are_told() -> None:
    measure = {"value": 0.8, "low": 0.0, "high": 2.4, "items": 9, "clusters": 9}
    model = {"measures": {"accuracy": measure}, "by": {}, "items": 9, "judge": None, "unread_verdicts": 0,
             "not_scored": {}, "unreadable": {}, "left_out": 0, "seen": {}}  # fmt: skip
    benchmark = {"title": "Sums", "metrics": [{"name": "accuracy", "unit": "%", "better": "higher"}], "notes": [],
                 "rows_expected": None, "official_judge": None, "modes": {"cot": {"models": {"m": model}}},
                 "published": [{"model": "X", "value": 20.4, "mode": "cot"},
                               {"model": "X-MPO", "value": 25.7, "mode": "cot"}]}  # fmt: skip
    results: Any = {"models": ["m"], "benchmarks": {"sums": benchmark}, "not_run": {}}
    told = comparison_markdown(results)
    assert "| 0.8 [0.0, 2.4] | X 20.4; X-MPO 25.7 (+5.3) |" in told


def test_what_was_scored_is_not_asked_again(benchmark: Path, engines: Engines, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = run.run_benchmarks(config(benchmark, out=out))
    again = run.run_benchmarks(config(benchmark, out=out))
    assert engines.started == ["good"]
    assert again == first
    both = run.run_benchmarks(config(benchmark, out=out, against="bad"))
    assert engines.started == ["good", "bad"]
    assert both["models"] == ["good", "bad"]


def test_other_settings_on_the_same_results_are_refused(benchmark: Path, engines: Engines, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run.run_benchmarks(config(benchmark, out=out))
    with pytest.raises(ConfigError, match="other settings: temperature"):
        run.run_benchmarks(config(benchmark, out=out, temperature=1.0))


def test_limit_skip_and_the_warning_that_rows_are_missing(benchmark: Path, engines: Engines) -> None:
    engines.replies["good"] = ["3", "4"]
    found = run.run_benchmarks(config(benchmark, limit=2, skip=2))
    told = found["benchmarks"]["sums"]["modes"]["direct"]["models"]["good"]
    assert (told["items"], told["measures"]["accuracy"]["value"]) == (2, 100.0)
    assert "2 of 8 rows" in comparison_markdown(found)


def test_pass_at_k_and_the_majority_come_with_samples(benchmark: Path, engines: Engines) -> None:
    found = run.run_benchmarks(config(benchmark, samples=4, temperature=1.0))
    measures = found["benchmarks"]["sums"]["modes"]["direct"]["models"]["good"]["measures"]
    assert set(measures) == {"accuracy", "pass@4", "majority"}


def _trained(tmp_path: Path, questions: list[Any]) -> TrainedOn:
    """What an export says that was trained on these questions, written and read as training and evaluation do."""
    import numpy as np

    def kept(values: set[int]) -> Any:
        return np.array(sorted(values), np.uint64)

    made = TrainedOn(
        kept({trained_on._of_hex(q.question_id) for q in questions}),
        kept(set()),
        kept({trained_on._of_text(q.text) for q in questions}),
    )
    np.savez_compressed(
        tmp_path / trained_on.FILE, questions=made.questions, images=made.images, wordings=made.wordings
    )
    found = trained_on.read_trained_on(tmp_path)
    assert found is not None
    return found


@pytest.fixture
def knowing(benchmark: Path, engines: Engines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrainedOn:
    """`bad` says of itself that it was trained on the first two sums."""
    [declared] = catalog.find([str(benchmark)])
    items = [item for item in read_items(declared, config(benchmark)) if isinstance(item, BenchmarkItem)]
    known = _trained(tmp_path, [item.question for item in items[:2]])
    monkeypatch.setattr(seen, "read_trained_on", lambda name: known if name == "bad" else None)
    return known


@pytest.mark.usefixtures("knowing")
def test_rows_that_a_model_was_trained_on_are_left_out_for_both(benchmark: Path, engines: Engines) -> None:
    engines.replies = {name: replies[2:] for name, replies in engines.replies.items()}
    found = run.run_benchmarks(config(benchmark, against="bad"))
    told = found["benchmarks"]["sums"]["modes"]["direct"]["models"]
    assert {name: (each["items"], each["left_out"]) for name, each in told.items()} == {"good": (6, 2), "bad": (6, 2)}
    assert told["bad"]["measures"]["accuracy"]["value"] == 50.0
    assert "2 rows left out: a model was trained on them" in comparison_markdown(found)


@pytest.mark.usefixtures("knowing")
def test_they_are_refused_or_kept_where_that_is_wanted(benchmark: Path, engines: Engines) -> None:
    with pytest.raises(ConfigError, match="bad was trained on sums s0"):
        run.run_benchmarks(config(benchmark, against="bad", trained_on="refuse"))
    found = run.run_benchmarks(config(benchmark, against="bad", trained_on="keep"))
    told = found["benchmarks"]["sums"]["modes"]["direct"]["models"]["bad"]
    assert told["items"] == ROWS
    assert told["seen"] == {"bad": {"question": 2, "wording": 2}}
    assert "contamination: of these rows bad was trained on the question of 2, the wording of 2" in comparison_markdown(
        found
    )


def test_a_group_goes_on_without_what_cannot_be_scored_here(
    benchmark: Path, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    [sums] = catalog.find([str(benchmark)])
    judged = catalog.known()["mmvet"]
    monkeypatch.setattr(catalog, "find", lambda names: [sums, judged])
    found = run.run_benchmarks(config(benchmark, benchmarks=["both"]))
    assert list(found["benchmarks"]) == ["sums"]
    assert "scored by a judge" in found["not_run"]["mmvet"]
    assert "mmvet was not run" in comparison_markdown(found)
    monkeypatch.setattr(catalog, "find", lambda names: [judged])
    with pytest.raises(ConfigError, match="--judge"):
        run.run_benchmarks(config(benchmark, benchmarks=["mmvet"]))


def test_mathvista_asks_its_query_with_hint_and_unit() -> None:
    from mmpr_pipeline.core.records import Question

    asked = BenchmarkItem(
        Question(question_id="q", source="mathvista", source_id="1", text="How old?", kind="number", answer="4"),
        {"query": "Hint: give an integer.\nQuestion: How old? (Unit: years)"},
    )
    turn = as_asked(catalog.known()["mathvista"], asked, EvalConfig(benchmarks=("mathvista",), mode="direct"))
    assert turn.prompting is not None
    assert turn.prompting.turn == "Hint: give an integer.\nQuestion: How old? (Unit: years)"
    cot = as_asked(catalog.known()["mathvista"], asked, EvalConfig(benchmarks=("mathvista",)))
    assert cot.prompting is not None
    assert cot.prompting.turn is not None
    assert cot.prompting.turn.endswith("Final answer: ANSWER")


def test_a_row_cannot_fill_places_or_bring_images() -> None:
    from mmpr_pipeline.core.records import Question

    question = Question(question_id="q", source="s", source_id="1", text="{answer} <image>", kind="none")
    told = {"name": "b", "title": "B", "rows": "pope", "score": "checker", "metrics": ["accuracy"], "definition": "d",
            "prompt": {"body": "{question}", "open": True}}  # fmt: skip
    asked = as_asked(benchmark_of(told, "b"), BenchmarkItem(question, {"answer": "4"}), EvalConfig(benchmarks=("b",)))
    assert asked.prompting is not None
    assert asked.prompting.turn == "{answer}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": "judge"}, "judge: name the judge prompt"),
        ({"metric": "accuracy"}, "metric: Extra inputs"),
        ({"metrics": []}, "metrics"),
    ],
)
def test_declarations_that_cannot_work_are_refused(change: dict[str, Any], said: str) -> None:
    told = {"name": "b", "title": "B", "rows": "pope", "score": "pope", "metrics": ["f1"], "definition": "d"}
    with pytest.raises(ConfigError, match=said):
        benchmark_of({**told, **change}, "b")


def test_names_groups_and_sources_are_found_and_others_refused() -> None:
    assert {each.name for each in catalog.find(["text"])} == {"theoremqa", "ifeval"}
    assert [each.score for each in catalog.find(["nano_grid"])] == ["checker"]
    assert len(catalog.find(["paper", "pope"])) == len(catalog.benchmark_groups()["paper"])
    with pytest.raises(ConfigError, match="Did you mean pope"):
        catalog.find(["popee"])


def test_the_leader_board_puts_models_side_by_side(benchmark: Path, engines: Engines, tmp_path: Path) -> None:
    for model in ("bad", "good"):
        engine = {"name": "scripted", "model": model, "actors": 0}
        run.run_benchmarks(config(benchmark, engine=engine, out=str(tmp_path / model)))
    rows = merged([read_results(str(tmp_path / "bad")), read_results(str(tmp_path / "good" / "results.json"))])
    assert order_of(rows) == ["good", "bad"]
    assert "**87.5" in board_markdown(rows)
    shown = CliRunner().invoke(app, ["leaderboard", str(tmp_path / "bad"), str(tmp_path / "good")])
    assert shown.exit_code == 0, shown.output
    assert "leader board" in shown.output
    with pytest.raises(ConfigError, match="no benchmark results"):
        read_results(str(tmp_path))


def test_the_list_names_every_benchmark() -> None:
    shown = CliRunner().invoke(app, ["eval", "--list"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert all(name in shown.output for name in catalog.known())


KIT = """#!{python}
import json, pathlib, sys
if sys.argv[1] == "-c":
    print("0.7.3")
    sys.exit()
given = dict(zip(sys.argv, sys.argv[1:]))
assert sys.argv[1:3] == ["-m", "lmms_eval"]
out = pathlib.Path(given["--output_path"]) / "m"
out.mkdir(parents=True)
told = {{"results": {{"pope": {{"alias": "pope", "pope_f1_score,none": 0.8, "pope_f1_score_stderr,none": 0.01}}}},
        "n-samples": {{"pope": {{"original": 9000, "effective": 5}}}}, "seen": given["--model_args"]}}
(out / "1_results.json").write_text(json.dumps(told))
"""


def test_the_bridge_brings_another_kits_numbers_into_the_table(benchmark: Path, tmp_path: Path) -> None:
    """A kit that is played here; the real one is run where its environment is (docs/evaluation.md)."""
    from mmpr_pipeline.evaluation.harness.lmms import run_harness

    python = tmp_path / "python"
    python.write_text(KIT.format(python=sys.executable))
    os.chmod(python, python.stat().st_mode | stat.S_IXUSR)
    asked = config(
        benchmark,
        benchmarks=["pope"],
        engine={"name": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "actors": 0},
        limit=5,
    )
    found = run_harness(asked, "lmms-eval", str(python))
    measure = found["benchmarks"]["pope"]["modes"]["direct"]["models"]["m"]["measures"]["pope_f1_score"]
    assert (measure["value"], measure["items"]) == (0.8, 5)
    assert measure["low"] == pytest.approx(0.8 - 0.0196)
    told = comparison_markdown(found)
    assert "asked and scored by lmms-eval 0.7.3" in told
    assert "Brackets: 1.96 of lmms-eval's standard errors." in told
    with pytest.raises(ConfigError, match="environment of its own"):
        run_harness(asked, "lmms-eval", str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="Unknown harness"):
        run_harness(asked, "other", None)


def test_the_harness_server_takes_the_engine_as_it_is_set() -> None:
    """What is not set is left to the server: it was asked for `--max-num-seqs None`."""
    from mmpr_pipeline.engines.settings import EngineSettings
    from mmpr_pipeline.evaluation.harness.serve import server_command

    plain = server_command(EngineSettings(model="nano"), 8000)
    assert "None" not in plain
    few = server_command(EngineSettings(model="nano", max_num_seqs=8), 8000)
    assert few[few.index("--max-num-seqs") + 1] == "8"


def test_recorded_responses_are_scored_without_a_model(benchmark: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    lines = [{"question_id": f"s{i}", "response": f"Final answer: {i + 1 if i < 6 else 0}"} for i in range(ROWS)]
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines))
    engine = {"name": "replay", "model": "theirs", "rollouts": str(recorded), "actors": 0}
    found = run.run_benchmarks(config(benchmark, engine=engine))
    told = found["benchmarks"]["sums"]["modes"]["direct"]["models"]
    assert {name: each["measures"]["accuracy"]["value"] for name, each in told.items()} == {"theirs": 75.0}


def test_a_trained_model_is_named_by_its_label(tmp_path: Path) -> None:
    """Not by the folder's path, which differs from machine to machine."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    _trained(folder, [])
    [label] = seen.trained_models([str(folder), "org/name"])
    assert label.startswith("export@")
