"""A training run in a process of its own: `python -m tests.training.run.loop_worker SETTINGS.json [--resume]`.

With `--kill-after N` the process kills itself (kill -9) right after it wrote step N's metrics; with `--kill-in put:N`
(or commit:N) while the checkpoint of step N is written behind the training: before the last file, or before the commit.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import torch

from mmpr_pipeline.training.checkpoints.places import DirectoryPlace, ObjectPlace
from mmpr_pipeline.training.run.console import NoTrainingView
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.settings import TrainConfig


class Killer(NoTrainingView):
    def __init__(self, after: int | None) -> None:
        self.after = after

    def step(self, step: int, steps: int, metrics: Any) -> None:
        print(f"step {step}", flush=True)
        if step == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in(place: str) -> None:
    """Let the process end by kill -9 in a method of checkpoint places, for one step."""
    name, _, step = place.partition(":")
    for kind in (DirectoryPlace, ObjectPlace):
        right = getattr(kind, name)

        def killed(self: Any, at: int, what: Any, right: Any = right) -> None:
            if at == int(step):
                right(self, at, what[:1]) if name == "put" else None
                os.kill(os.getpid(), signal.SIGKILL)
            right(self, at, what)

        setattr(kind, name, killed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-after", type=int)
    parser.add_argument("--kill-in")
    args = parser.parse_args()
    if args.kill_in:
        kill_in(args.kill_in)
    torch.set_num_threads(1)
    config = TrainConfig.model_validate_json(args.settings.read_text())
    print(train(config, Killer(args.kill_after), resume=args.resume))


if __name__ == "__main__":
    main()
