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

from mmpr_pipeline.training.checkpoints.places import CheckpointPlace
from mmpr_pipeline.training.distributed.world import connect
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.metrics import TrainingView
from mmpr_pipeline.training.settings import TrainConfig


class Killer(TrainingView):
    def __init__(self, after: int | None) -> None:
        self.after = after

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        print(f"step {step}", flush=True)
        if step == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in(place: str) -> None:
    """Let the process end by kill -9 in a method of checkpoint places, for one step."""
    name, _, step = place.partition(":")
    right = getattr(CheckpointPlace, name)

    def killed(self: Any, at: int, what: Any) -> None:
        if at == int(step):
            right(self, at, what[:1]) if name == "put" else None
            os.kill(os.getpid(), signal.SIGKILL)
        right(self, at, what)

    setattr(CheckpointPlace, name, killed)


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
