"""A study, step after step: what is done stays done, and a study that was stopped goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import yaml

from mmpr_pipeline.core.errors import MmprError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.core.settings.base import load_yaml
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.sources.declaration.catalog import CATALOG
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.recipe import StudyPlan, make_study_plan
from mmpr_pipeline.study.results.table import StudyResults
from mmpr_pipeline.study.settings import QuestionSettings, StudyConfig
from mmpr_pipeline.study.steps.step import LOG, Step
from mmpr_pipeline.study.steps.work import do

STUDY, TABLE = "study.json", "table.json"
LAST_LINES = 25
STEP_BYTES = 6 * 10**9
"""Memory that one step may take: a vLLM engine of the embedded model, Ray, and workers were seen to take 4 GB."""
Doer = Callable[[Step, Path], None]


class StepFailed(MmprError):
    """A step of a study ended with an error."""


def run_study(config: StudyConfig, progress: Progress = no_progress, doer: Doer | None = None) -> StudyResults:
    """Do every step that is not done yet, then the tables; gives the results, as written to `table.json`.

    Raises ConfigError where a step was begun with other settings, StepFailed where one ends with an error. May be
    killed at any time: the same call goes on from there.
    """
    root = _root(config)
    store = open_store(root)
    store.check_writable()
    plan = make_study_plan(config)
    with store.lease():
        for step in plan.steps.values():  # what cannot go on stops before any work
            step.done(root)
        store.write(STUDY, json_bytes({"mmpr_version": __version__, "config": config.model_dump(mode="json")}))
        for folder, questions in plan.sources.items():
            write_sources(root / "sources" / folder, config.sources, questions)
        jobs = config.jobs or jobs_that_fit(config.threads)
        _do_all(plan, root, progress, doer or InProcesses(config.threads), jobs)
        return _tables(config, plan, root)


def tell_so_far(config: StudyConfig) -> StudyResults:
    """The results of what is done, without doing anything; the study may be running. Raises as `results_of`."""
    return _tables(config, make_study_plan(config), _root(config))


def _tables(config: StudyConfig, plan: StudyPlan, root: Path) -> StudyResults:
    from mmpr_pipeline.study.results.scores import results_of, write_results

    results = results_of(config, plan, root)
    write_results(results, root)
    return results


def _root(config: StudyConfig) -> Path:
    return Path(config.out).expanduser().absolute()


def _do_all(plan: StudyPlan, root: Path, progress: Progress, doer: Doer, jobs: int) -> None:
    """Every step that is not done, `jobs` at once, each after what it needs; the first error stops them all."""
    steps = list(plan.steps.values())
    waiting = [step for step in steps if step.done(root) is None]
    running: dict[Future[None], Step] = {}
    with ThreadPoolExecutor(jobs) as threads:
        try:
            while waiting or running:
                # Steps of which every need is done, in their order.
                busy = running.values()
                undone = {step.name for step in (*waiting, *busy)}
                for step in [step for step in waiting if undone.isdisjoint(step.needs)][: jobs - len(running)]:
                    progress(step.name, len(steps) - len(waiting), len(steps))
                    waiting.remove(step)
                    step.begin(root)
                    running[threads.submit(doer, step, root)] = step
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    step = running.pop(future)
                    future.result()
                    if step.done(root) is None:
                        raise StepFailed(
                            f"The step {step.name} ended without a result.", remedy=f"See {step.folder(root) / LOG}."
                        )
        except BaseException:
            if isinstance(doer, InProcesses):
                doer.stop()
            raise
    progress("tables", len(steps), len(steps))


class InProcesses:
    """Does each step in a process of its own, with what it prints kept in its log. Threads may share it."""

    def __init__(self, threads: int) -> None:
        """`threads` are the processor threads that each step's computations take."""
        # Waiting threads must not take busy cores.
        self._variables = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "OMP_NUM_THREADS": str(threads)}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, step: Step, root: Path) -> None:
        """Do one step; raises StepFailed with the end of its log where it ends with an error."""
        log = step.folder(root) / LOG
        with open(log, "ab") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {step.name}\n".encode())
            file.flush()
            command = [sys.executable, "-m", "mmpr_pipeline.study.steps.work", str(root), step.name]
            # In a session of its own: Ctrl-C reaches the study alone, which asks each step once to end in order.
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env={**os.environ, **self._variables}, start_new_session=True
            )
            self._running.add(process)
            try:
                if self._stopped:
                    process.terminate()
                status = process.wait()
            finally:
                self._running.discard(process)
        if status:
            last = "\n    ".join(log.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:])
            raise StepFailed(
                f"The step {step.name} ended with status {status}:\n    {last}",
                remedy=f"See {log}; the same command goes on from here.",
            )

    def stop(self) -> None:
        """End the steps that are running; they can be gone on with."""
        self._stopped = True
        for process in list(self._running):
            process.terminate()


def jobs_that_fit(threads: int) -> int:
    """Steps that the machine's cores and its memory have room for at once."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)) // threads, memory // STEP_BYTES))


def in_this_process(step: Step, root: Path) -> None:
    """Do a step here: for tests, and for steps that need no engine."""
    do(step, root)


def list_steps(config: StudyConfig) -> list[str]:
    """The steps of a study in their order, each with whether it is done."""
    root = _root(config)
    plan = make_study_plan(config)
    return [f"{'done' if step.done(root) is not None else '    '}  {step.name}" for step in plan.steps.values()]


def write_sources(folder: Path, sources: tuple[str, ...], questions: QuestionSettings) -> None:
    """One declaration for each nano source, under its own name."""
    store = open_store(folder)
    for name in sources:
        declared = load_yaml((CATALOG / f"{name}.yaml").read_text("utf-8"))
        generated = {"name": name, "split": questions.split, "rows": questions.each, "seed": questions.seed}
        if not questions.answers:
            kept = {name: column for name, column in declared["columns"].items() if name != "answer"}
            declared = {**declared, "columns": kept, "kind": "none"}
        text = yaml.safe_dump({**declared, "rows": questions.each, "generated": generated}, sort_keys=False)
        if not store.exists(f"{name}.yaml") or store.read(f"{name}.yaml") != text.encode():
            store.write(f"{name}.yaml", text.encode())
