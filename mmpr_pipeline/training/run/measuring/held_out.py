"""What a run says of questions that it does not train on, at every checkpoint; and which checkpoint was the best.

RUN/held_out.jsonl   a line a checkpoint, and one before the first step: `step` finished steps; preference `accuracy`
                     (share of pairs with h_c > h_r), `reward/margin`, `nll`, `loss` and the rest as in metrics.jsonl;
                     `benchmarks` by name, where some are measured
RUN/best.json        the step of the best line so far, by the setting `best_by`; its checkpoint is kept
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmpr_pipeline.core.files import checked_line, json_bytes
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints.places import CheckpointPlace
from mmpr_pipeline.training.data.encode import PairReject
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import Stream, of_one_step, prefetch
from mmpr_pipeline.training.objective.loss import mixed
from mmpr_pipeline.training.run.measuring import Measured
from mmpr_pipeline.training.run.measuring.samples import SAMPLES
from mmpr_pipeline.training.run.step import Sums
from mmpr_pipeline.training.run.metrics import keep_until, read_lines
from mmpr_pipeline.training.run.step import Learner

HELD_OUT, BEST = "held_out.jsonl", "best.json"
HELD_OUT_METRICS = {"accuracy": "accuracy", "margin": "reward/margin", "nll": "nll", "loss": "loss"}
_HIGHER: frozenset[str] = frozenset({"accuracy", "margin"})


@torch.no_grad()
def measure_held_out(
    learner: Learner, stream: Stream, slices: Sequence[Slice], rows: Any, stopping: Callable[[], bool]
) -> dict[str, float]:
    """Means over the pairs of `slices`, by all ranks together; δ is that of the steps so far and does not move.

    Raises Stopped where any rank is asked to stop: a checkpoint comes first.
    """
    sums, rejects = Sums(learner.weights), list[PairReject]()
    with closing(prefetch(stream.steps([(0, list(slices))], rows))) as events:
        for event in learner.world.in_turns(of_one_step(events, rejects), stopping):
            _, pairs = learner.score(event)
            if event and pairs:
                loss = mixed(pairs, learner.weights, learner.settings, learner.shift.value)
                sums.add_batch(event.batch, pairs, loss, learner.settings.beta, 0.0)
    sums.add(rejected=len(rejects))
    found = sums.result(learner.world.sum(sums.values))
    unwanted = ("flops", "micro_batches", "imbalance", "reward/accuracy")
    return {"accuracy": found["reward/accuracy"], **{name: found[name] for name in found if name not in unwanted}}


class HeldOutLine(NamedTuple):
    """A checkpoint's line of held_out.jsonl."""

    step: int
    numbers: Mapping[str, float]
    benchmarks: Mapping[str, Measured]


class HeldOutRecord:
    """Keeps what was measured in the run's directory; on the first rank only."""

    def __init__(self, run: Path, place: CheckpointPlace, best_by: str, resumed_at: int) -> None:
        self._run, self._place, self._by = run, place, best_by
        for name in (HELD_OUT, SAMPLES):
            keep_until(run / name, resumed_at + 1)  # the line of a checkpoint stands by it

    def add(self, step: int, found: Mapping[str, float], benchmarks: Mapping[str, Measured]) -> None:
        """A checkpoint's line: what was measured on held-out pairs and on benchmarks, of which either may be empty."""
        with open(self._run / HELD_OUT, "ab") as file:
            file.write(checked_line({"step": step, **found, **({"benchmarks": benchmarks} if benchmarks else {})}))

    def best(self) -> int | None:
        """The step of the best line that has a checkpoint, which is noted; None where there is none."""
        best = best_line(self._run, self._place.steps(), self._by)
        if best is None:
            return None
        [(value, _)] = _measured(best, self._by)
        made = {"step": best.step, "by": self._by, "value": value}
        open_store(self._run).write(BEST, json_bytes(made))
        return best.step


def best_line(run: Path, steps: Sequence[int], by: str) -> HeldOutLine | None:
    """The best line of a checkpoint that is there, of `steps`; equal ones go by the loss, then the earlier wins."""
    lines = [
        HeldOutLine(line.pop("step"), benchmarks=line.pop("benchmarks", {}), numbers=line)
        for line in read_lines(run / HELD_OUT)
    ]
    ranked = [
        (sign * value, line.numbers.get("loss", 0.0), line)
        for line in lines
        if line.step in steps
        for value, sign in _measured(line, by)
    ]
    return min(ranked, key=lambda entry: (*entry[:2], entry[2].step), default=(0.0, 0.0, None))[2]


def _measured(line: HeldOutLine, by: str) -> list[tuple[float, int]]:
    """What a line says of the metric `by`, and the sign that makes less of it better; none where that is missing."""
    if by in HELD_OUT_METRICS:
        return [(line.numbers[HELD_OUT_METRICS[by]], -1 if by in _HIGHER else 1)] if line.numbers.get("pairs") else []
    found = line.benchmarks.get(by)
    return [(found["value"], 1 if found["less_is_better"] else -1)] if found else []


def held_out_line(step: int, found: dict[str, float]) -> str:
    """A line for people."""
    return (
        f"Held out, after {step} steps: accuracy {found['accuracy']:.3f}, margin {found['reward/margin']:+.3f},"
        f" NLL {found['nll']:.4f}, loss {found['loss']:.4f} ({found['pairs']:.0f} pairs)."
    )
