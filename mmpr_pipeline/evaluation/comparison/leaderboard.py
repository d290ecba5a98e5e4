"""Several evaluations side by side: `mmpr leaderboard RESULTS…`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.evaluation.results import BenchmarksEvaluation, IntervalFields, MetricFields
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from rich.console import RenderableType


class BoardRow(TypedDict):
    """One benchmark and mode: the models' numbers, and how each was asked."""

    title: str
    mode: str
    metric: MetricFields
    models: dict[str, IntervalFields]
    asked: dict[str, tuple[object, ...]]
    alike: bool


def read_results(place: str) -> BenchmarksEvaluation:
    """The results in a directory, or in a results.json. Raises ConfigError where there are none."""
    path = Path(place)
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text("utf-8"))
        else:
            store = open_store(place)
            found = json.loads(store.read("results.json")) if store.exists("results.json") else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{place} cannot be read: {error}", remedy="Give the --out of an evaluation.") from None
    if not isinstance(found, dict) or found.get("kind") != "benchmarks":
        raise ConfigError(
            f"{place} holds no benchmark results.", remedy="Run `mmpr eval MODEL --benchmarks … --out DIR` first."
        )
    return cast(BenchmarksEvaluation, found)


def merged(results: Sequence[BenchmarksEvaluation]) -> list[BoardRow]:
    """One row a benchmark and mode: each model's number, and where models were not asked alike, what differs.

    A model that stands in several results has the number of the last one.
    """
    rows: dict[tuple[str, str], BoardRow] = {}
    for each in results:
        for name, benchmark in each["benchmarks"].items():
            for mode, found in benchmark["modes"].items():
                row = rows.setdefault(
                    (name, mode),
                    {
                        "title": benchmark["title"],
                        "mode": mode,
                        "metric": benchmark["metrics"][0],
                        "models": {},
                        "asked": {},
                        "alike": True,
                    },
                )
                for model, its in found["models"].items():
                    row["models"][model] = its["measures"][benchmark["metrics"][0]["name"]]
                    row["asked"][model] = (
                        its["items"],
                        its["judge"],
                        each["config"]["style"],
                        each["config"]["samples"],
                    )
    for row in rows.values():
        row["alike"] = len(set(row["asked"].values())) == 1
    return list(rows.values())


def order_of(rows: Sequence[BoardRow]) -> list[str]:
    """Models by their mean rank over the benchmarks that all of them have; those named first win ties."""
    models = list(dict.fromkeys(model for row in rows for model in row["models"]))
    shared = [row for row in rows if all(model in row["models"] for model in models)]

    def rank(model: str) -> float:
        total = 0.0
        for row in shared:
            sign = -1 if row["metric"]["better"] == "lower" else 1
            mine = sign * row["models"][model]["value"]
            total += sum(sign * its["value"] > mine for its in row["models"].values())
        return total

    return sorted(models, key=rank)


def leaderboard_table(rows: Sequence[BoardRow]) -> RenderableType:
    """The board for a terminal: best number of each row in bold, numbers of unlike ways of asking marked."""
    from rich.table import Table
    from rich.text import Text

    models = order_of(rows)
    table = Table(title="leader board", caption="* not asked alike: rows, judge, style or samples differ")
    for heading in ("benchmark", "mode", "metric", *models):
        table.add_column(Text(heading), overflow="fold")
    for row in rows:
        best = _best(row)
        cells = [_cell(row, model) for model in models]
        texts = [Text(c, style="bold green" if m == best else "") for c, m in zip(cells, models, strict=True)]
        table.add_row(f"{row['title']}{'' if row['alike'] else ' *'}", row["mode"], row["metric"]["name"], *texts)
    return table


def leaderboard_markdown(rows: Sequence[BoardRow]) -> str:
    """The board as Markdown."""
    models = order_of(rows)
    heads = ["benchmark", "mode", "metric", *models]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        best = _best(row)
        cells = [f"**{_cell(row, m)}**" if m == best else _cell(row, m) for m in models]
        title = f"{row['title']}{'' if row['alike'] else ' *'}"
        lines.append("| " + " | ".join([title, row["mode"], row["metric"]["name"], *cells]) + " |")
    return "\n".join(lines) + "\n\n\\* not asked alike: rows, judge, style or samples differ\n"


def _best(row: BoardRow) -> str | None:
    if row["metric"]["better"] == "neither":
        return None
    sign = -1 if row["metric"]["better"] == "lower" else 1
    best: str = max(row["models"], key=lambda model: sign * row["models"][model]["value"])
    return best


def _cell(row: BoardRow, model: str) -> str:
    its = row["models"].get(model)
    return "" if its is None else f"{its['value']:.1f} [{its['low']:.1f}, {its['high']:.1f}]"
