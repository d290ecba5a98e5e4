"""A training run in a process of its own: `python -m tests.training.run.loop_worker SETTINGS.json [--resume]`.

Several settings are several runs, one after another.
With `--kill-after N` the process kills itself (kill -9) right after it wrote step N's metrics; with `--kill-in put:N`
(or commit:N) while the checkpoint of step N is written behind the training: before the last file, or before the commit.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from mmpr_pipeline.training.checkpoints import CheckpointPlace, step_name
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import TrainingView
from mmpr_pipeline.training.settings import TrainConfig
from mmpr_pipeline.training.world import connect


class Killer(TrainingView):
    def __init__(self, after: int | None) -> None:
        self.after = after

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        print(f"step {step}", flush=True)
        if step == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in(moment: str) -> None:
    """Let the process end by kill -9 while a step's checkpoint is brought to its place: after its first file of this
    rank (`put_file:2`), or before its state is written (`write:2`)."""
    name, _, step = moment.partition(":")
    begin = CheckpointPlace.__init__

    def begin_and_watch(self: CheckpointPlace, run: str | Path, url: str | None = None) -> None:
        begin(self, run, url)
        right = getattr(self.store, name)

        def killed(key: str, what: Any) -> None:
            if key.startswith(f"{step_name(int(step))}/"):
                right(key, what) if name == "put_file" else None
                os.kill(os.getpid(), signal.SIGKILL)
            right(key, what)

        setattr(self.store, name, killed)

    setattr(CheckpointPlace, "__init__", begin_and_watch)  # noqa: B010  # a method, for mypy


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", type=Path, nargs="+")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-after", type=int)
    parser.add_argument("--kill-in")
    args = parser.parse_args(arguments)
    if args.kill_in:
        kill_in(args.kill_in)
    torch.set_num_threads(1)
    with connect("cpu") if len(args.settings) > 1 else nullcontext():
        for settings in args.settings:
            config = TrainConfig.model_validate_json(settings.read_text())
            print(train(config, Killer(args.kill_after), resume=args.resume))


if __name__ == "__main__":
    main()
