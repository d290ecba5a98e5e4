"""The bridge to lmms-eval: it runs the tasks that it has against a server of the model, in its own environment, and its
numbers come into the same table.

lmms-eval asks, reads and scores by its own rules; the table says so. Its intervals are 1.96 of its standard errors.

The small task needs no network: generated pictures of nano_grid with their answers. It shows that the bridge works,
from the served model to the table. Rows and the task's two files are written into a folder whose path lmms-eval gets.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmpr_pipeline import __version__
from mmpr_pipeline.core.errors import ConfigError, EngineError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.evaluation.harness.serve import served
from mmpr_pipeline.evaluation.results import BenchmarkResults, BenchmarksEvaluation, IntervalFields, ModelMeasures
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK, prompt_for
from mmpr_pipeline.sources.source import open_source

PACKAGE = "lmms-eval"
TESTED = "0.7.3"

TASKS = {
    "mathvista": "mathvista_testmini",
    "mathvision": "mathvision_test",
    "mmvet": "mmvet",
    "llava_bench": "llava_in_the_wild",
    "pope": "pope",
    "crpe": "crpe_relation",
    "mmstar": "mmstar",
    "xlrs_bench": "xlrs-lite",
    "vstar": "vstar_bench",
    "hrbench_4k": "hrbench4k",
    "hrbench_8k": "hrbench8k",
    "ifeval": "ifeval",
}
"""Its names of benchmarks that both have; any other name is taken as a task of lmms-eval."""

_LAST_LINES = 25


def run_harness(config: EvalConfig, harness: str, python: str | None) -> BenchmarksEvaluation:
    """The results of lmms-eval on `config.benchmarks`, in the form of this package's results.

    `python` is that of the environment that has lmms-eval, else $MMPR_LMMS_EVAL. Raises ConfigError where it cannot be
    run, EngineError where it fails.
    """
    if harness != PACKAGE:
        raise ConfigError(f"Unknown harness {harness!r}.", remedy=f"There is {PACKAGE}.")
    python = python or os.environ.get("MMPR_LMMS_EVAL")
    if not python or not shutil.which(python):
        raise ConfigError(
            f"{PACKAGE} needs an environment of its own: it has about 55 dependencies.",
            remedy=f"Run `python -m venv LMMS && LMMS/bin/pip install {PACKAGE}=={TESTED} 'filelock<3.20'`, and give "
            "--harness-python LMMS/bin/python.",
        )
    names = [config.engine.model, *([config.against] if config.against else [])]
    evaluated = [_model(config, name, python) for name in names]
    version = _version(evaluated[0], python)
    benchmarks: dict[str, BenchmarkResults] = {}
    for benchmark in config.benchmarks:
        task = TASKS.get(benchmark, benchmark)
        models = {name: _measures(each, task) for name, each in zip(names, evaluated, strict=True)}
        first = next(iter(models.values()))
        benchmarks[benchmark] = {
            "title": f"{benchmark} ({PACKAGE}" + (")" if task == benchmark else f": {task})"),
            "groups": [],
            "metrics": [{"name": name, "unit": "its own", "better": "higher"} for name in first["measures"]],
            "definition": f"{PACKAGE} {version}, task {task}",
            "prompt_of": f"{PACKAGE}'s",
            "official_judge": None,
            "notes": [f"asked and scored by {PACKAGE} {version}"],
            "published": [],
            "rows_expected": None,
            "modes": {"direct": {"models": models}},
        }
    return {
        "mmpr_version": __version__,
        "kind": "benchmarks",
        "intervals": f"Brackets: 1.96 of {PACKAGE}'s standard errors.",
        "models": names,
        "config": config.model_dump(mode="json", exclude={"out"}),
        "benchmarks": benchmarks,
        "not_run": {},
    }


def _model(config: EvalConfig, name: str, python: str) -> dict[str, Any]:
    """lmms-eval's results file of one model."""
    settings: EngineSettings = config.engine.model_copy(update={"model": name})
    tasks = [TASKS.get(each, each) for each in config.benchmarks]
    with tempfile.TemporaryDirectory(prefix="mmpr-lmms-") as folder:
        place = Path(folder)
        with served(settings, place / "server.log") as address:
            model = f"model_version={name},base_url={address},timeout=600,num_concurrent={min(config.in_flight, 64)}"
            command = [python, "-m", "lmms_eval", "--model", "openai", "--model_args", model]
            command += ["--tasks", ",".join(tasks), "--output_path", str(place / "out"), "--batch_size", "1"]
            command += ["--limit", str(config.limit)] if config.limit else []
            if SMALL_TASK in tasks:
                command += ["--include_path", str(write_small_task(place / "tasks", config.limit))]
            key = {"OPENAI_API_KEY": os.environ.get("OPENAI_API_KEY", "none")}
            ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **key})
        found = sorted((place / "out").rglob("*results.json"))
        if ran.returncode or not found:
            last = "\n    ".join((ran.stdout + ran.stderr).splitlines()[-_LAST_LINES:])
            raise EngineError(
                f"{PACKAGE} gave no results; it ended with status {ran.returncode}:\n    {last}",
                remedy="Look at its own message above.",
            )
        return dict(json.loads(found[-1].read_text("utf-8")))


def _version(results: dict[str, Any], python: str) -> str:
    """lmms-eval's version: as its results name it, else as its environment does."""
    named = str(results.get("lmms_eval_version") or "")
    if named and "unknown" not in named:
        return named
    ask = f"from importlib.metadata import version; print(version({PACKAGE!r}))"
    ran = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 and ran.stdout.strip() else "of an unknown version"


def _measures(results: dict[str, Any], task: str) -> ModelMeasures:
    """The numbers of one task, as this package tells them. Raises EngineError where there are none."""
    found = results.get("results", {}).get(task, {})
    measures: dict[str, IntervalFields] = {}
    items = int(results.get("n-samples", {}).get(task, {}).get("effective", 0))
    for key, value in found.items():
        metric, _, _ = key.partition(",")
        if metric.endswith(("_stderr", "_clt", "_clustered")) or not isinstance(value, int | float):
            continue
        error = found.get(key.replace(metric, f"{metric}_stderr", 1))
        half = 1.96 * error if isinstance(error, int | float) else math.nan
        measures[metric] = {
            "value": float(value), "low": value - half, "high": value + half, "items": items, "clusters": items
        }  # fmt: skip
    measures = {name: each for name, each in measures.items() if name not in ("alias", "samples")}
    if not measures:
        raise EngineError(
            f"{PACKAGE} reports no score for {task}.", remedy="Run it alone, and look at its results file."
        )
    return {
        "measures": measures,
        "by": {},
        "items": items,
        "not_scored": {},
        "unread_verdicts": 0,
        "orders_differ": 0,
        "rules": {},
        "unreadable": {},
        "left_out": 0,
        "seen": {},
        "judge": None,
        "tokens": 0,
        "seconds": 0.0,
    }


SMALL_TASK = "mmpr_nano_grid"
ROWS = 40

_YAML = """task: mmpr_nano_grid
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_visual: !function scoring.pictures
doc_to_text: !function scoring.text
doc_to_target: answer
process_results: !function scoring.score
generation_kwargs:
  max_new_tokens: 256
  temperature: 0
  do_sample: false
metric_list:
  - metric: accuracy
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.0
"""

_SCORING = """import io

from PIL import Image


def pictures(doc):
    return [Image.open(io.BytesIO(doc["image"])).convert("RGB")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["prompt"]


def score(doc, results):
    said = results[0].rsplit("Final answer:", 1)[-1].strip().rstrip(".").lower()
    return {"accuracy": float(said == doc["answer"].strip().lower())}
"""


def write_small_task(folder: Path, limit: int | None) -> Path:
    """Write the task into `folder`, with as many rows as are asked for at most; gives the folder."""
    source = open_source("nano_grid")
    index = source.index(min(limit or ROWS, ROWS))
    questions = [item for item in source.read(index, 0, index.rows) if isinstance(item, Question)]
    task = folder / SMALL_TASK
    task.mkdir(parents=True)
    rows = [
        {
            "prompt": prompt_for(question, "cot-final").text.replace(IMAGE_MARK, "").strip(),
            "answer": question.answer,
            "image": question.images[0].data,
        }
        for question in questions
    ]
    pq.write_table(pa.Table.from_pylist(rows), task / "rows.parquet")
    (task / f"{SMALL_TASK}.yaml").write_text(_YAML.format(rows=task / "rows.parquet"))
    (task / "scoring.py").write_text(_SCORING)
    return folder
