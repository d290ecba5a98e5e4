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
from collections.abc import Mapping
from pathlib import Path

from mmpr_pipeline.core.errors import MmprError
from mmpr_pipeline.core.settings import Settings
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.study.steps.measure import measure_study
from mmpr_pipeline.study.steps.step import Step, StepFacts, placed, read_step


class HoldOutStep(Settings):
    """The settings of a step that holds questions out: as many as `held_out` of a build's sources, into a folder."""

    sources: tuple[str, ...]
    data_root: str | None
    limit: int | None
    held_out: int
    folder: str


class HandOverStep(Settings):
    """The settings of a step that writes pairs of `data` as rows; with `rows`, those that were continued."""

    data: str
    folder: str
    rows: str | None = None


def do(step: Step, root: Path) -> None:
    """Do a step, or go on with it, and mark it done."""
    settings = placed(step.settings, root)
    started = time.monotonic()
    facts: StepFacts
    match step.kind:
        case "build":
            from mmpr_pipeline.pipeline.driver import run_build

            facts = _built(run_build(BuildConfig.model_validate(settings)))
        case "repair":
            from mmpr_pipeline.pipeline.driver import run_plan
            from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan

            changes = {name: value for name, value in settings.items() if name != "before"}
            facts = _built(run_plan(make_rebuild_plan(str(settings["before"]), changes)))
        case "train":
            facts = _train(settings)
        case "measure":
            facts = measure_study(settings)
        case "hold_out":
            from mmpr_pipeline.study.steps.held_out import hold_out_questions

            asked = HoldOutStep.model_validate(settings)
            number = hold_out_questions(asked.sources, asked.data_root, asked.held_out, asked.limit, Path(asked.folder))
            facts = {"questions": number}
        case "evaluate":
            from mmpr_pipeline.evaluation.run import run_eval
            from mmpr_pipeline.evaluation.settings import EvalConfig

            [found] = run_eval(EvalConfig.model_validate(settings))["models"]
            facts = {"accuracy": found["accuracy"], "outcomes": found["outcomes"]}
        case "pair_by_world":
            from mmpr_pipeline.study.steps.known_feedback import pair_by_world

            facts = {"counts": pair_by_world(settings)}
        case "hand_over":
            facts = _hand_over(settings)
    facts["seconds"] = round(time.monotonic() - started, 1)
    step.finish(root, facts)


def _built(summary: BuildSummary) -> StepFacts:
    return {"counts": summary["counts"]}


def _train(settings: Mapping[str, object]) -> StepFacts:
    from mmpr_pipeline.training.checkpoints import CheckpointPlace, step_name
    from mmpr_pipeline.training.run.launch import run_training
    from mmpr_pipeline.training.settings import TrainConfig

    config = TrainConfig.model_validate({**settings, "keep": 1})
    exported = Path(str(settings["export"]))
    if exported.exists():  # killed while it was written, or right after: the checkpoint has it all
        shutil.rmtree(exported)
    place = CheckpointPlace(config.run_dir, config.checkpoints)
    result = run_training(config, resume=bool(place.steps()))
    if result.interrupted:
        raise KeyboardInterrupt
    for step in place.steps():
        place.remove(step_name(step))
    return {"steps": result.steps, "left_out": result.rejected}


def _hand_over(settings: Mapping[str, object]) -> StepFacts:
    from mmpr_pipeline.study.steps.same_chosen import hand_over_pairs, keep_continued

    step = HandOverStep.model_validate(settings)
    if step.rows is not None:
        return {"counts": keep_continued(Path(step.rows), step.data, Path(step.folder))}
    return {"counts": hand_over_pairs(step.data, Path(step.folder))}


def main() -> None:
    """Do the step named on the command line."""
    root, name, parent = Path(sys.argv[1]), sys.argv[2], os.getppid()

    def end_with_the_study() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=end_with_the_study, name="parent", daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a build has journalled is closed in order
    try:
        do(read_step(root / "steps" / name), root)
    except MmprError as error:
        print(f"mmpr: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
