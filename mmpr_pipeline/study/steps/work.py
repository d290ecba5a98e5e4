"""The work of one step: a build, a repair, a training or a measurement, each by the pipeline's own functions.

`python -m mmpr_pipeline.study.steps.work STUDY STEP` does one that was begun, in a process of its own: what a model or
an engine held is given back when it ends, and a kill costs no more than what the step itself cannot resume.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import MmprError
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.study.steps.measure import measure_study
from mmpr_pipeline.study.steps.step import Step, placed, read_step


def do(step: Step, root: Path) -> None:
    """Do a step, or go on with it, and mark it done."""
    settings = placed(step.settings, root)
    works = {
        "build": _build,
        "repair": _repair,
        "train": _train,
        "measure": measure_study,
        "hold_out": _hold_out,
        "evaluate": _evaluate,
        "pair_by_world": _pair_by_world,
        "hand_over": _hand_over,
    }
    started = time.monotonic()
    facts = works[step.kind](settings)
    step.finish(root, {**facts, "seconds": round(time.monotonic() - started, 1)})


def _build(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.pipeline.driver import run_build

    return _built(run_build(BuildConfig.model_validate(settings), _Unseen()))


def _repair(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.pipeline.driver import run_plan
    from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan

    given = {name: value for name, value in settings.items() if name != "before"}
    return _built(run_plan(make_rebuild_plan(settings["before"], given), _Unseen()))


def _built(summary: BuildSummary) -> dict[str, Any]:
    return {"counts": summary["counts"]}


def _train(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.training.checkpoints.places import checkpoint_place
    from mmpr_pipeline.training.run.launch import run_training
    from mmpr_pipeline.training.settings import TrainConfig

    config = TrainConfig.model_validate({**settings, "keep": 1})
    exported = Path(settings["export"])
    if exported.exists():  # killed while it was written, or right after: the checkpoint has it all
        shutil.rmtree(exported)
    place = checkpoint_place(config.run_dir, config.checkpoints)
    result = run_training(config, resume=bool(place.steps()))
    if result.interrupted:
        raise KeyboardInterrupt
    for step in place.steps():
        place.remove(step)
    return {"steps": result.steps, "left_out": result.rejected}


def _hold_out(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.study.steps.held_out import hold_out_questions

    root, limit = settings["data_root"], settings["limit"]
    return {
        "questions": hold_out_questions(
            settings["sources"], root, settings["held_out"], limit, Path(settings["folder"])
        )
    }


def _evaluate(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.evaluation.run import run_eval
    from mmpr_pipeline.evaluation.settings import EvalConfig

    [found] = run_eval(EvalConfig.model_validate(settings))["models"]
    return {"accuracy": found["accuracy"], "outcomes": found["outcomes"]}


def _pair_by_world(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.study.steps.known_feedback import pair_by_world

    return {"counts": pair_by_world(settings)}


def _hand_over(settings: dict[str, Any]) -> dict[str, Any]:
    from mmpr_pipeline.study.steps.same_chosen import hand_over_pairs, keep_continued

    folder = Path(settings["folder"])
    if "rows" in settings:
        return {"counts": keep_continued(Path(settings["rows"]), settings["data"], folder)}
    return {"counts": hand_over_pairs(settings["data"], folder)}


class _Unseen:
    """A view of a build that shows nothing."""

    def stage(self, text: str, done: int = 0, of: int = 0, /) -> None:
        """Nothing."""

    def planned(self, plan: Any, missing: int) -> None:
        """Nothing."""

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """Nothing."""


def _end_with(parent: int) -> None:
    """End this process when the study that started it is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main() -> None:
    """Do the step named on the command line."""
    root, name = Path(sys.argv[1]), sys.argv[2]
    _end_with(os.getppid())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a build has journalled is closed in order
    try:
        do(read_step(root / "steps" / name), root)
    except MmprError as error:
        print(f"mmpr: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
