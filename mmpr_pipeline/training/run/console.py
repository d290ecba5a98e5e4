"""What a person sees of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console

EVERY = 10.0  # seconds between plain lines


class TrainingView(Protocol):
    """Shows a run."""

    def message(self, lines: str | Sequence[str]) -> None:
        """Something to be read."""

    def scoring(self, done: int, shards: int) -> None:
        """Progress of the reference pass."""

    def step(self, step: int, steps: int, metrics: dict[str, Any]) -> None:
        """A step was done; `step` counts from 1."""


class NoTrainingView:
    """Shows nothing: ranks other than the first, and tests."""

    def message(self, lines: str | Sequence[str]) -> None:
        """Nothing."""

    def scoring(self, done: int, shards: int) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, metrics: dict[str, Any]) -> None:
        """Nothing."""


def line_of(metrics: dict[str, Any]) -> str:
    """The metrics worth a glance."""
    mfu = metrics.get("mfu")
    return (
        f"loss {metrics['loss']:.4f}  margin {metrics['reward/margin']:+.3f}  accuracy {metrics['reward/accuracy']:.2f}"
        f"  grad {metrics['grad_norm']:.2f}  lr {metrics['lr']:.1e}  {metrics['tokens_per_second']:,.0f} tokens/s"
        + (f"  MFU {mfu:.0%}" if mfu else "")
        + f"  {metrics['memory_gib']:.1f} GiB"
    )


class TrainingConsole:
    """The view of a terminal or a log file; a context manager."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._said = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def message(self, lines: str | Sequence[str]) -> None:
        """Something to be read."""
        for line in [lines] if isinstance(lines, str) else lines:
            self._console.print(line, highlight=False, markup=False)

    def scoring(self, done: int, shards: int) -> None:
        """Progress of the reference pass."""
        self._show("scoring the reference, shards", done, shards, "")

    def step(self, step: int, steps: int, metrics: dict[str, Any]) -> None:
        """A step was done."""
        self._show("training, steps", step, steps, line_of(metrics))

    def _show(self, what: str, done: int, total: int, now: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total, now="")
        self._bar.update(self._tasks[what], completed=done, now=now)
        due = time.monotonic() - self._said >= EVERY or done == total
        if not self._console.is_terminal and due:
            self._said = time.monotonic()
            self.message(f"{what} {done}/{total}  {now}".rstrip())
