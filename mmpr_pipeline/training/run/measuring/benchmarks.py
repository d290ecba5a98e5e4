"""Benchmarks at checkpoints: `mmpr eval` on an export of them, in a process of its own.

RUN/benchmarks/step-00000200/   what `mmpr eval --out` writes: results, responses, log
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.run.settings import BenchmarkSettings

BENCHMARKS = "benchmarks"
_OF_THE_LAUNCHER = ("RANK", "LOCAL_", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


class Measured(TypedDict):
    """A benchmark's first metric, and whether less of it is better."""

    value: float
    less_is_better: bool


def measure_benchmarks(model: Path, out: Path, settings: BenchmarkSettings) -> dict[str, Measured]:
    """The first metric of each benchmark, by name. Raises TrainingError, with what `mmpr eval` said, where it fails."""
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "eval", str(model), "--out", str(out)]
    command += ["--benchmarks", ",".join(settings.names), *settings.options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_LAUNCHER)}
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "eval.log", "wb") as log:
        done = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        end_of_log = (out / "eval.log").read_text("utf-8", "replace").strip()[-800:]
        raise TrainingError(
            f"mmpr eval on {', '.join(settings.names)} failed: {end_of_log}",
            remedy=f"Run it alone: mmpr {' '.join(command[3:])}. The evaluation needs memory beside the training.",
        )
    return read_measured(out)


def read_measured(out: Path) -> dict[str, Measured]:
    """What an evaluation found, of the first mode."""
    results = json.loads((out / "results.json").read_text("utf-8"))["benchmarks"]
    found: dict[str, Measured] = {}
    for name, each in results.items():
        metric, mode = each["metrics"][0], next(iter(each["modes"].values()))
        [model] = mode["models"].values()
        value = float(model["measures"][metric["name"]]["value"])
        found[name] = {"value": value, "less_is_better": metric["better"] == "lower"}
    return found
