"""What a user sees of a build: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.screening.report import report_sentences, unchecked

_REMEDY = escape("Name those that matter (--decontaminate-against), or say --no-decontaminate.")

PLAIN_EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""


class BuildConsole:
    """Shows a build on a console; a context manager, so that the bar is gone before anything else is printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("reading sources", total=None, rates="")
        self._rows = self._shards = 0
        self._pace = Pace()
        self._printed = time.monotonic()

    def __enter__(self) -> BuildConsole:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def stage(self, text: str) -> None:
        """Name what is being done."""
        self._bar.update(self._task, description=text)
        if not self._console.is_terminal:
            self._console.print(f"mmpr: {text}")

    def planned(self, plan: Plan, missing: int) -> None:
        """Say what will be done, and what is already there."""
        num_shards = plan.config.shards
        self._shards = missing
        self._rows = plan.rows * missing // num_shards  # a finished shard's rows are not worked on again
        kept = f", {num_shards - missing} finished before" if missing < num_shards else ""
        names = ", ".join(source["name"] for source in plan.described_sources)
        self._console.print(
            f"[bold]{plan.rows:,}[/] questions of {names} into {num_shards} shards{kept}", highlight=False
        )
        if held_out := [s["name"] for s in plan.described_sources if s["role"] == "evaluation"]:
            self._console.print(
                f"[bold yellow]Warning:[/] {', '.join(held_out)} is meant for evaluation. A model trained on these "
                "pairs must not be measured on it; config.json and the dataset's card say so.",
                highlight=False,
            )
        self._screening(plan)

    def _screening(self, plan: Plan) -> None:
        report = plan.screened
        if report is None:
            return
        for sentence in report_sentences(report):
            self._console.print(escape(sentence), highlight=False)
        if warning := unchecked(report):
            self._console.print(f"[bold yellow]Warning:[/] {escape(warning)} {_REMEDY}", highlight=False)

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """Show counts and rates."""
        rates = self._pace.line(tally, self._rows)
        self._bar.update(self._task, total=self._rows, completed=tally.get("questions", 0), rates=rates)
        if not self._console.is_terminal and time.monotonic() - self._printed >= PLAIN_EVERY:
            self._printed = time.monotonic()
            done = f"{tally.get('questions', 0):,}/{self._rows:,} questions, {finished}/{self._shards} shards"
            self._console.print(f"mmpr: {done}, {rates}", highlight=False)


class Pace:
    """Rates over the whole run so far; what came from a journal does not count as made now."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def line(self, tally: dict[str, int], rows: int) -> str:
        """Rollouts/s, tokens/s, pairs and the time left, as one short line."""
        seconds = max(time.monotonic() - self._start, 1e-3)
        made = tally.get("rollouts", 0) - tally.get("resumed", 0)
        share = made / max(tally.get("rollouts", 0), 1)
        parts = [
            f"{made / seconds:,.0f} rollouts/s",
            f"{tally.get('tokens', 0) * share / seconds:,.0f} tokens/s",
            f"{tally.get('pairs', 0):,} pairs",
        ]
        questions = tally.get("questions", 0)
        if questions and rows > questions:
            parts.append(f"{duration(seconds * (rows - questions) / questions)} left")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 1h05m, 3m20s or 12s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
