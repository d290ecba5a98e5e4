"""What a run writes down of every step: `metrics.jsonl`, one JSON object a line, and other watchers on request.

The last field of a line, `check`, is its checksum.

loss, loss/TERM     mean over the step's pairs; terms unweighted
reward/chosen, reward/rejected, reward/margin, reward/accuracy     β h, its difference, share of pairs with h_c > h_r
delta               δ of BCO that the step used
kl                  -mean h over chosen and rejected: estimates KL(π_ref || π), nats a response, as far as responses
                    are samples of the reference
nll                 nats a token of the chosen responses
imbalance           of experts, see `families.experts`: their number a token where the load is even; 0 for dense models
grad_norm, lr, pairs, groups' tokens and images' tiles computed, seconds, tokens_per_second, pairs_per_second, mfu,
memory_gib (most on a GPU; resident in main memory), rejected (pairs left out in this step)
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import psutil
import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import checked_line, sound_lines
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.objective.loss import LossTerms, PairLogProbs

METRICS, REJECTS, WANDB_ID = "metrics.jsonl", "rejects.jsonl", "wandb_id"


class SampleLine(TypedDict):
    """A line of samples.jsonl, without its `step`."""

    question_id: str
    question: str
    answer: str | None
    outcome: NotRequired[str]
    text: str


class Sums:
    """Sums over the pairs of one step on this rank, as one float64 vector that ranks can add up."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        terms = [f"loss/{term}" for term, weight in weights.items() if weight]
        self.names = [
            "pairs", "loss", *terms, "reward/chosen", "reward/rejected",
            "reward/accuracy", "kl", "nll", "imbalance", "tokens", "tiles", "flops", "rejected", "micro_batches",
        ]  # fmt: skip
        self.values = torch.zeros(len(self.names), dtype=torch.float64)

    def add(self, **amounts: float) -> None:
        """Add to sums by name."""
        for name, amount in amounts.items():
            self.values[self.names.index(name)] += amount

    def add_batch(self, batch: PackedBatch, pairs: PairLogProbs, loss: LossTerms, beta: float, flops: float) -> None:
        """Add a micro-batch. One transfer from the device for all its numbers."""
        chosen, rejected = pairs.chosen_ratio.detach(), pairs.rejected_ratio.detach()
        found = {
            "loss": loss.total.detach(),
            **{f"loss/{name}": values for name, values in loss.terms.items()},
            "reward/chosen": beta * chosen,
            "reward/rejected": beta * rejected,
            "reward/accuracy": (chosen > rejected).double(),
            "kl": -(chosen + rejected) / 2,
            "nll": -pairs.chosen.detach() / pairs.chosen_tokens,
        }
        totals = torch.stack([values.double().sum() for values in found.values()]).cpu()
        self.add(**dict(zip(found, totals.tolist(), strict=True)))
        tiles = len(batch.images.get("pixel_values", ()))
        self.add(pairs=batch.pairs, tokens=batch.tokens, tiles=tiles, flops=flops, micro_batches=1)

    def result(self, values: Tensor) -> dict[str, float]:
        """Sums over all ranks to means over pairs, where they are sums over pairs."""
        totals = dict(zip(self.names, values.tolist(), strict=True))
        count = max(1.0, totals["pairs"])
        per_run = {"pairs", "tokens", "tiles", "flops", "rejected", "micro_batches"}
        means = {name: value if name in per_run else value / count for name, value in totals.items()}
        return {**means, "reward/margin": means["reward/chosen"] - means["reward/rejected"]}


class Metrics:
    """Writes metrics and rejects of a run; on the first rank only."""

    def __init__(self, run: Path, watch: tuple[str, ...], config: Mapping[str, object], resumed_at: int) -> None:
        self._run = run
        for name in (METRICS, REJECTS):
            keep_until(run / name, resumed_at)
        self._tensorboard = _tensorboard(run, config, resumed_at) if "tensorboard" in watch else None
        self._wandb = _wandb(run, config) if "wandb" in watch else None

    def write(self, line: Mapping[str, float]) -> None:
        """A step's metrics; must hold `step`."""
        self._append(METRICS, line)
        self.watch({name: value for name, value in line.items() if name not in ("step", "steps")}, int(line["step"]))

    def watch(self, numbers: Mapping[str, float], step: int) -> None:
        """Numbers for the other watchers only."""
        if self._tensorboard:
            for name, value in numbers.items():
                self._tensorboard.add_scalar(tag(name), value, step)
        if self._wandb:
            self._wandb.log(numbers, step=step)

    def samples(self, lines: Sequence[SampleLine], step: int) -> None:
        """What the model says of the fixed questions, for TensorBoard."""
        if self._tensorboard is None:
            return
        for number, line in enumerate(lines):
            quoted = "\n".join(f"    {each}" for each in str(line["text"]).splitlines())  # as code: nothing is markup
            asked = "\n".join(f"    {each}" for each in str(line["question"]).splitlines())
            text = f"{asked}\n\n{line.get('outcome', 'not checked')}:\n\n{quoted}"
            self._tensorboard.add_text(f"samples/{number}", text, step)

    def reject(self, step: int, rejects: Sequence[Mapping[str, object]]) -> None:
        """Pairs left out of a step."""
        for each in rejects:
            self._append(REJECTS, {"step": step, **each})

    def close(self) -> None:
        """End the other watchers' files."""
        if self._tensorboard:
            self._tensorboard.close()
        if self._wandb:
            self._wandb.finish()

    def _append(self, name: str, line: Mapping[str, object]) -> None:
        with open(self._run / name, "ab") as file:
            file.write(checked_line(line))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSONL file, without their checksums; a torn or damaged line is left out."""
    return sound_lines(path.read_bytes()) if path.is_file() else []


def keep_until(path: Path, step: int) -> None:
    """Cut a file of steps back to the steps before `step`: those after it are computed again."""
    if path.is_file():
        kept = [line for line in read_lines(path) if line.get("step", 0) < step]
        open_store(path.parent).write(path.name, b"".join(checked_line(line) for line in kept))


def memory_gib(device: torch.device) -> float:
    """Most memory used on a GPU since the last call; on the CPU, what the process holds now."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return float(used / 2**30)
    return float(psutil.Process().memory_info().rss / 2**30)


_PERFORMANCE = frozenset(
    ("seconds", "tokens_per_second", "pairs_per_second", "mfu", "memory_gib", "tokens", "tiles", "micro_batches",
     "pairs", "rejected")
)  # fmt: skip


def tag(name: str) -> str:
    """A metric's name in TensorBoard: in the groups train, loss, reward, held_out and performance."""
    if "/" in name:
        return name
    return f"{'performance' if name in _PERFORMANCE else 'train'}/{name}"


def _tensorboard(run: Path, config: Mapping[str, object], resumed_at: int) -> Any:
    """Events of steps that a resumed run computes again are purged, as they are from the metrics file."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "TensorBoard is not installed.", remedy="Run pip install tensorboard, or remove it from `watch`."
        ) from None
    from torch.utils.tensorboard.summary import hparams

    writer = SummaryWriter(run / "tensorboard", purge_step=resumed_at or None)
    flat = {name: value for name, value in config.items() if isinstance(value, str | int | float | bool)}
    for summary in hparams(flat, {"held_out/accuracy": None, "held_out/loss": None}):  # what is compared across runs
        writer.file_writer.add_summary(summary)
    writer.add_text("settings", "\n".join(f"    {line}" for line in json.dumps(config, indent=1).splitlines()))
    return writer


def _wandb(run: Path, config: Mapping[str, object]) -> Any:
    try:
        import wandb
    except ImportError:
        raise ConfigError("W&B is not installed.", remedy="Run pip install wandb, or remove it from `watch`.") from None
    # Drawn once, kept with the run: a resumed run goes on in its history, others of the same name have theirs.
    path = run / WANDB_ID
    if not path.is_file():
        path.write_text(secrets.token_hex(8))
    own = path.read_text().strip()
    return wandb.init(dir=str(run), config=dict(config), id=own, name=run.name, resume="allow")
