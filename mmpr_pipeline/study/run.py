"""A study, step after step: what is done stays done, and a study that was stopped goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmpr_pipeline import __version__
from mmpr_pipeline.dataset.manifest import json_bytes
from mmpr_pipeline.errors import MmprError
from mmpr_pipeline.storage import lease, open_store
from mmpr_pipeline.study.recipe import Plan, make_plan
from mmpr_pipeline.study.settings import StudyConfig
from mmpr_pipeline.study.step import LOG, Step
from mmpr_pipeline.study.work import do
from mmpr_pipeline.study.worlds import write_sources

STUDY, TABLE = "study.json", "table.json"
LAST_LINES = 25
Told = Callable[[str, int, int], None]
"""Called with the step that begins, the steps done, and the steps in all."""
Doer = Callable[[Step, Path], None]


class StepFailed(MmprError):
    """A step of a study ended with an error."""


def run_study(config: StudyConfig, told: Told = lambda *_: None, doer: Doer | None = None) -> dict[str, Any]:
    """Do every step that is not done yet, then the tables; gives the results, as written to `table.json`.

    Raises ConfigError where a step was begun with other settings, StepFailed where one ends with an error. May be
    killed at any time: the same call goes on from there.
    """
    from mmpr_pipeline.study.results import results_of, write_results

    root = Path(config.out).expanduser().absolute()
    store = open_store(root)
    store.check_writable()
    plan = make_plan(config)
    with lease(store):
        for step in plan.steps.values():  # what cannot go on stops before any work
            step.done(root)
        store.write(STUDY, json_bytes({"mmpr_version": __version__, "config": config.model_dump(mode="json")}))
        for folder, questions in plan.sources.items():
            write_sources(root / "sources" / folder, config.sources, questions)
        _do_all(plan, root, told, doer or in_a_process)
        results = results_of(config, plan, root)
        write_results(results, root)
        return results


def _do_all(plan: Plan, root: Path, told: Told, doer: Doer) -> None:
    steps = list(plan.steps.values())
    for number, step in enumerate(steps):
        if step.done(root) is not None:
            continue
        told(step.name, number, len(steps))
        step.begin(root)
        doer(step, root)
        if step.done(root) is None:
            raise StepFailed(f"The step {step.name} ended without a result.", remedy=f"See {step.folder(root) / LOG}.")
    told("tables", len(steps), len(steps))


def in_a_process(step: Step, root: Path) -> None:
    """Do a step in a process of its own, with what it prints kept in its log."""
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # waiting threads must not take busy cores
    command = [sys.executable, "-m", "mmpr_pipeline.study.work", str(root), step.name]
    log = step.folder(root) / LOG
    with open(log, "ab") as file:
        file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {step.name}\n".encode())
        file.flush()
        ended = subprocess.run(command, stdout=file, stderr=file, env={**waiting, **os.environ}, check=False)
    if ended.returncode:
        last = "\n    ".join(log.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:])
        raise StepFailed(
            f"The step {step.name} ended with status {ended.returncode}:\n    {last}",
            remedy=f"See {log}; the same command goes on from here.",
        )


def in_this_process(step: Step, root: Path) -> None:
    """Do a step here: for tests, and for steps that need no engine."""
    do(step, root)


def list_steps(config: StudyConfig) -> list[str]:
    """The steps of a study in their order, each with whether it is done."""
    root = Path(config.out).expanduser().absolute()
    plan = make_plan(config)
    return [f"{'done' if step.done(root) is not None else '    '}  {step.name}" for step in plan.steps.values()]
