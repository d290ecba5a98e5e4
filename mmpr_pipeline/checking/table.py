"""The table of `mmpr check`, for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmpr_pipeline.checking.cases import Score, Summary
from mmpr_pipeline.checking.measure import PlaceScore
from mmpr_pipeline.core.masking import steering_nothing

FULL_WIDTH = 100
"""Columns of a terminal in which the times have room."""


def table_of(summary: Summary, width: int = FULL_WIDTH) -> Table:
    """One row a kind of answer, one a source, and one over all; no times where `width` is below FULL_WIDTH."""
    table = Table(title="Answer checker", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("cases of", no_wrap=True, min_width=14)
    times = ("cases/s", "slowest") if width >= FULL_WIDTH else ()
    for name in ("n", "accuracy", "false +", "false -", "unclear", *times):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), 6))
    if times:
        table.add_column("slowest case", no_wrap=True, max_width=24)
    columns = len(table.columns)
    for scores in (summary.by_kind, summary.by_source):
        for name in sorted(scores):
            table.add_row(*_cells(scores[name])[:columns])
        table.add_section()
    table.add_row(*_cells(summary.total)[:columns], style="bold")
    return table


def places_table(places: Mapping[str, PlaceScore], title: str = "Where answers were found") -> Table:
    """One row a place, the surest first: how often its verdicts are right, with the bounds of that share."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("place", no_wrap=True, min_width=18)
    for name in ("decided", "right", "95%", "false +", "false -", "doubtful"):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), 7))
    decided = {name: score for name, score in places.items() if score.decided}
    for name, score in sorted(decided.items(), key=lambda item: (-item[1].interval()[0], item[0])):
        low, high = score.interval()
        right = "-" if score.precision is None else f"{score.precision:.2%}"
        counts = (score.false_positives, score.false_rejections, score.doubtful)
        table.add_row(name, str(score.decided), right, f"{100 * low:.1f}-{100 * high:.1f}", *map(str, counts))
    return table


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print the table."""
    (console or Console(width=max(Console().width, 112))).print(table_of(summary))


def _cells(score: Score) -> list[str]:
    accuracy = score.accuracy
    return [
        escape(steering_nothing(score.name)),
        str(score.cases),
        "-" if accuracy is None else f"{accuracy:.2%}",
        str(score.false_positives),
        str(score.false_negatives),
        str(score.unparseable),
        f"{score.per_second:,.0f}",
        f"{score.slowest * 1e3:.0f} ms",
        escape(steering_nothing(score.slowest_id)),
    ]
