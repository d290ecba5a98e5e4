"""How much of the package one question and one training step pass through: files, functions and changes of file.

    python bench/walks.py

A question: the plan of a build and its shard, four scripted rollouts, in this process, without Ray. A step: one of
training the embedded model on the pairs of a small build. Functions of this package alone are counted, each once.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import mmpr_pipeline
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.driver import absolute_build_paths, claim_output, finish
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.storage import open_store

ROOT = str(Path(mmpr_pipeline.__file__).parent)


class Walk:
    """What was called while `record` was on."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.functions: set[tuple[str, int]] = set()
        self.switches, self._last = 0, ""

    def record(self, work: Callable[[], Any]) -> Walk:
        """Count the calls that `work` makes, in every thread."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
        return self

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(ROOT) or code.co_name.startswith("<"):
            return
        file = code.co_filename.removeprefix(ROOT)
        self.files.add(file)
        self.functions.add((file, code.co_firstlineno))
        self.switches += file != self._last
        self._last = file

    def __str__(self) -> str:
        return f"{len(self.files)} files, {len(self.functions)} functions, {self.switches} changes of file"


def build(out: Path, questions: int, walk: Walk | None = None) -> None:
    """A small build of the embedded questions."""
    settings = {"sources": ["nano_grid"], "out": str(out), "limit": questions, "shards": 1,
                "engine.name": "scripted", "sampling.samples": 4}  # fmt: skip

    def work() -> None:
        plan = make_build_plan(absolute_build_paths(load_config(None, settings)), None)
        store = open_store(plan.config.out)
        claim_output(store, plan)

        async def shard() -> None:
            engine = await plan.start()
            await work_shard(plan, 0, engine, lambda tally: None)

        asyncio.run(shard())
        finish(store, plan, {"seconds": 0.0, "shards": 1})

    walk.record(work) if walk else work()


def train(data: Path, run: Path) -> Walk:
    """One step on the pairs of a build."""
    from mmpr_pipeline.training.run.loop import train as train_pairs
    from mmpr_pipeline.training.settings import load_train_config

    settings = {"data": str(data), "run_dir": str(run), "model": "nano", "batch": 4, "max_steps": 1, "held_out": 0,
                "launch.device": "cpu"}  # fmt: skip
    return Walk().record(lambda: train_pairs(load_train_config(None, settings)))


def main() -> None:
    """Print both walks."""
    with tempfile.TemporaryDirectory(prefix="walks-") as folder:
        one = Walk()
        build(Path(folder) / "one", 1, one)
        print(f"one question: {one}")
        build(Path(folder) / "some", 8)
        print(f"one training step: {train(Path(folder) / 'some', Path(folder) / 'run')}")


if __name__ == "__main__":
    main()
