"""What a person sees of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mmpr_pipeline.core.progress import ProgressBar

if TYPE_CHECKING:
    from rich.console import Console


LEAST_MFU = 0.1  # below, as on a CPU, it says nothing


class TrainingView:
    """Shows a run. This one shows nothing: ranks other than the first, and tests."""

    def message(self, lines: str | Sequence[str]) -> None:
        """Something to be read."""

    def scoring(self, done: int, shards: int) -> None:
        """Progress of the reference pass."""

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """A step was done; `step` counts from 1."""


def line_of(metrics: Mapping[str, float]) -> str:
    """The metrics worth a glance, the most telling first."""
    parts = [
        f"loss {metrics['loss']:.4f}",
        f"margin {metrics['reward/margin']:+.3f}",
        f"chosen ahead {metrics['reward/accuracy']:.0%}",
        f"grad {metrics['grad_norm']:.2f}",
        f"{metrics['tokens_per_second']:,.0f} tokens/s",
        f"{metrics['memory_gib']:.1f} GiB",
    ]
    if (mfu := metrics.get("mfu") or 0.0) >= LEAST_MFU:
        parts.append(f"MFU {mfu:.0%}")
    return "  ".join(parts)


class TrainingConsole(TrainingView):
    """The view of a terminal or a log file; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = ProgressBar(console)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def message(self, lines: str | Sequence[str]) -> None:
        for line in [lines] if isinstance(lines, str) else lines:
            self._console.print(line, highlight=False, markup=False)

    def scoring(self, done: int, shards: int) -> None:
        self._bar("scoring the reference, shards", done, shards)

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        self._bar("training, steps", step, steps, note=line_of(metrics))
