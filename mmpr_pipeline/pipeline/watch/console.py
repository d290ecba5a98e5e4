"""What a user sees of a build: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape

from mmpr_pipeline.core.progress import ProgressBar
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.watch.tally import worked
from mmpr_pipeline.screening.report import report_sentences, unchecked

_REMEDY = escape("Name those that matter (--decontaminate-against), or say --no-decontaminate.")


class BuildConsole:
    """Shows a build on a console; a context manager, so that the bar is gone before anything else is printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = ProgressBar(console)
        self._stage = ""
        self._rows = self._shards = 0
        self._since = time.monotonic()

    def __enter__(self) -> BuildConsole:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.__exit__(kind, error, at)

    def stage(self, text: str, done: int = 0, num_shards: int = 0, /) -> None:
        """Name what is being done."""
        if text != self._stage:
            self._stage, self._since = text, time.monotonic()
        self._bar(text, done, num_shards)

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
        if commits := [f"{s['name']} {commit[:12]}" for s in plan.described_sources if (commit := s.get("revision"))]:
            self._console.print(
                f"Read from the Hub at these commits, which this output keeps to: {', '.join(commits)}", highlight=False
            )
        if held_out := [s["name"] for s in plan.described_sources if s["role"] == "evaluation"]:
            self._console.print(
                f"[bold yellow]Warning:[/] {', '.join(held_out)} is meant for evaluation. A model trained on these "
                "pairs must not be measured on it; config.json and the dataset's card say so.",
                highlight=False,
            )
        for note in plan.notes:
            self._console.print(note, highlight=False)
        if (report := plan.screened) is not None:
            for sentence in report_sentences(report):
                self._console.print(escape(sentence), highlight=False)
            if warning := unchecked(report):
                self._console.print(f"[bold yellow]Warning:[/] {escape(warning)} {_REMEDY}", highlight=False)

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """Show counts and rates."""
        if tally:  # else the board is just being restarted
            note = noted(tally, time.monotonic() - self._since, finished, self._shards)
            done, at_work = worked(tally)
            self._bar(f"{self._stage}, questions", done, self._rows, at_work, note)


def noted(tally: dict[str, int], seconds: float, finished: int, shards: int) -> str:
    """Shards, pairs and rates as one short line; what came from a journal does not count as made now."""
    made = tally.get("rollouts", 0) - tally.get("resumed", 0)
    share = made / max(tally.get("rollouts", 0), 1)
    seconds = max(seconds, 1e-3)
    return "  ".join(
        (
            f"{finished}/{shards} shards",
            f"{tally.get('pairs', 0):,} pairs",
            f"{made / seconds:,.0f} rollouts/s",
            f"{tally.get('tokens', 0) * share / seconds:,.0f} tokens/s",
        )
    )
