"""The table of an evaluation on benchmarks: base, trained model and gain beside what was published; how two models
compare, in words (always the model minus the other one); and the table as a picture, each model's numbers with their
intervals, in plain SVG, light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

from mmpr_pipeline.evaluation.results import (
    BenchmarkResults,
    BenchmarksEvaluation,
    DifferenceFields,
    IntervalFields,
    MetricFields,
    ModelMeasures,
    ModeResults,
)
from mmpr_pipeline.evaluation.seen import rows_seen

if TYPE_CHECKING:
    from rich.console import RenderableType


BRACKETS = "Brackets: 95% bootstrap intervals; rows that share an image are drawn together."


@dataclass(frozen=True)
class TableRow:
    """One benchmark in one mode: its numbers by model, the gain, what was published, and what is to be known."""

    benchmark: str
    mode: str
    metric: str
    unit: str
    items: int
    numbers: tuple[str, ...]
    gain: str
    verdict: Verdict
    published: str
    warnings: tuple[str, ...]


def table_rows(results: BenchmarksEvaluation) -> list[TableRow]:
    """The rows of the table, in the order of benchmarks."""
    return [
        _row(benchmark, mode, found, results["models"]) for benchmark in results["benchmarks"].values()
        for mode, found in benchmark["modes"].items()
    ]  # fmt: skip


def _row(benchmark: BenchmarkResults, mode: str, found: ModeResults, models: list[str]) -> TableRow:
    metric = benchmark["metrics"][0]
    name = metric["name"]
    by_model = found["models"]
    numbers = tuple(_number(by_model[m]["measures"][name], metric["unit"]) if m in by_model else "" for m in models)
    change = found["difference"].get(name) if "difference" in found else None
    arrow = " (lower is better)" if metric["better"] == "lower" else ""
    # What others have published; of a base and its MPO the gain as well.
    shown = {each["model"]: each["value"] for each in benchmark["published"] if each["mode"] in (mode, "unknown")}
    base_of = {model: model.removesuffix("-MPO") for model in shown if model.endswith("-MPO")}
    gains = {model: shown[model] - shown[base] for model, base in base_of.items() if base in shown}
    return TableRow(
        benchmark=benchmark["title"],
        mode="CoT" if mode == "cot" else mode,
        metric=f"{name}{arrow}",
        unit=metric["unit"],
        items=next(iter(by_model.values()))["items"],
        numbers=numbers,
        gain=signed(change) if change else "",
        verdict=verdict(change, metric["better"]) if change else "same",
        published="; ".join(f"{m} {v:g}" + (f" ({gains[m]:+.1f})" if m in gains else "") for m, v in shown.items()),
        warnings=tuple(_warnings(benchmark, by_model)),
    )


def _number(measure: IntervalFields, unit: str) -> str:
    digits = 1 if unit == "%" or abs(measure["value"]) > 1 else 3  # shares, as other kits have them
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(measure["value"], measure["low"], measure["high"], d=digits)


def _warnings(benchmark: BenchmarkResults, by_model: dict[str, ModelMeasures]) -> Iterator[str]:
    first = next(iter(by_model.values()))
    if benchmark["rows_expected"] and first["items"] < benchmark["rows_expected"]:
        yield f"{first['items']:,} of {benchmark['rows_expected']:,} rows"
    judge, official = first["judge"], benchmark["official_judge"]
    if judge and official and not judge.startswith(official):
        yield f"judged by {judge}, officially by {official}: no comparison with published numbers"
    if judge and " in ours words" in judge:
        yield "judge prompt in our words"
    for model, found in by_model.items():
        if found["unread_verdicts"]:
            yield f"{model}: {found['unread_verdicts']} verdicts could not be read"
        if found["not_scored"]:
            yield f"{model}: not scored: {_counts(found['not_scored'])}"
        if found["unreadable"]:
            yield f"{model}: rows left out as unreadable: {_counts(found['unreadable'])}"
        if found["left_out"]:
            yield f"{found['left_out']} rows left out: a model was trained on them"
        for seen, counts in found["seen"].items():
            if rows := rows_seen(counts):
                yield f"contamination: of these rows {seen} was trained on {rows}"
        break


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def comparison_markdown(results: BenchmarksEvaluation) -> str:
    """The table as Markdown, with breakdowns and what is to be known below it."""
    models, rows = results["models"], table_rows(results)
    gain = [f"{models[0]} − {models[1]}"] if len(models) > 1 else []
    heads = ["benchmark", "mode", "metric", "items", *models, *gain, "published"]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row.benchmark, row.mode, f"{row.metric}, {row.unit}", f"{row.items:,}", *row.numbers]
        lines.append(_line([*cells, *([f"{row.gain}, {SHOWN[row.verdict]}"] if gain else []), row.published]))
    parts = ["\n".join(lines), results.get("intervals", BRACKETS)]
    notes = [f"- {row.benchmark}, {row.mode}: {warning}" for row in rows for warning in row.warnings]
    notes += [f"- {each['title']}: {note}" for each in results["benchmarks"].values() for note in each["notes"]]
    notes += [f"- {name} was not run: {why}" for name, why in results["not_run"].items()]
    parts += ["\n".join(dict.fromkeys(notes))] if notes else []
    parts += [text for name in results["benchmarks"] for text in _details(results["benchmarks"][name], models)]
    return "\n\n".join(parts) + "\n"


def _details(benchmark: BenchmarkResults, models: list[str]) -> Iterator[str]:
    """Further metrics and breakdowns of one benchmark."""
    unit = benchmark["metrics"][0]["unit"]
    for mode, found in benchmark["modes"].items():
        rows = [
            [each["name"], *(_number(found["models"][m]["measures"][each["name"]], each["unit"]) for m in models)]
            for each in benchmark["metrics"][1:]
        ]
        first = next(iter(found["models"].values()))
        for breakdown, groups in first["by"].items():
            rows += [
                [f"{breakdown}: {group} ({told_of['items']})"]
                + [_number(found["models"][m]["by"].get(breakdown, {}).get(group, told_of), unit) for m in models]
                for group, told_of in groups.items()
            ]
        if rows:
            lines = [_line(["", *models]), "|" + "---|" * (1 + len(models)), *map(_line, rows)]
            yield f"### {benchmark['title']}, {mode}\n\n" + "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def comparison_table(results: BenchmarksEvaluation) -> RenderableType:
    """The table for a terminal, gains in colour, and what is to be known below it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    models, rows = results["models"], table_rows(results)
    table = Table(title="benchmarks, each by its own metric, with 95% intervals")
    heads = ["benchmark", "mode", "metric", "items", *models]
    heads += [f"{models[0]} − {models[1]}"] if len(models) > 1 else []
    for heading in (*heads, "published"):
        table.add_column(Text(heading), overflow="fold")
    for row in rows:
        cells: list[str | Text] = [row.benchmark, row.mode, f"{row.metric}, {row.unit}", f"{row.items:,}", *row.numbers]
        if len(models) > 1:
            cells.append(Text(f"{row.gain}\n{SHOWN[row.verdict]}", style=COLOURS[row.verdict]))
        table.add_row(*cells, row.published)
    notes = list(dict.fromkeys(f"{row.benchmark}: {warning}" for row in rows for warning in row.warnings))
    notes += [f"{name} was not run: {why}" for name, why in results["not_run"].items()]
    return Group(table, *(Text(note, style="yellow") for note in notes))


Verdict = Literal["better", "worse", "same"]


def verdict(difference: DifferenceFields, better: str = "higher") -> Verdict:
    """Better or worse where the interval lies on one side of 0; otherwise no difference can be shown."""
    low, high = difference["low"], difference["high"]
    if better == "neither" or not (low > 0 or high < 0):
        return "same"
    return "better" if (low > 0) == (better == "higher") else "worse"


SHOWN: dict[Verdict, str] = {"better": "better", "worse": "worse", "same": "no difference shown"}
COLOURS: dict[Verdict, str] = {"better": "green", "worse": "red", "same": "dim"}


def signed(difference: DifferenceFields, scale: float = 1.0) -> str:
    """`+9.0 [2.5, 16.0]`."""
    value, low, high = (scale * end for end in (difference["value"], difference["low"], difference["high"]))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def sentence(model: str, other: str, difference: DifferenceFields, scale: float = 1.0) -> str:
    """`trained − nano: +9.0 [2.5, 16.0], better; higher on 33 questions, lower on 15`."""
    return (
        f"{model} − {other}: {signed(difference, scale)}, {SHOWN[verdict(difference)]}; "
        f"higher on {difference['better']} questions, lower on {difference['worse']}"
    )


ROW, LEFT, WIDTH, TOP = 26, 220, 460, 34
MODEL_COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be123c", "#4d7c0f", "#6b21a8")


def draw_intervals(results: BenchmarksEvaluation) -> str:
    """A dot and its interval for each benchmark, mode and model, on 0 to 100; a judge's points on their own scale."""
    models = results["models"]
    rows = [
        (benchmark["title"], mode, benchmark["metrics"][0], found)
        for benchmark in results["benchmarks"].values()
        for mode, found in benchmark["modes"].items()
    ]
    height = TOP + ROW * len(rows) + 30 + 18 * len(models)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<style>text{fill:#1f2937}.g{stroke:#9ca3af;stroke-opacity:.4}"
        "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}}</style>",
    ]
    for mark in range(0, 101, 25):
        x = LEFT + WIDTH * mark / 100
        parts.append(f'<line class="g" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{TOP + ROW * len(rows)}"/>')
        parts.append(f'<text x="{x}" y="{TOP - 14}" text-anchor="middle">{mark}</text>')
    for at, (title, mode, metric, found) in enumerate(rows):
        y = TOP + ROW * at + ROW / 2
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(title)}, {escape(mode)}</text>')
        for number, model in enumerate(models):
            if model in found["models"]:
                shift = (number - (len(models) - 1) / 2) * 7
                parts.append(
                    _dot(
                        found["models"][model]["measures"][metric["name"]], metric, y + shift, MODEL_COLOURS[number % 6]
                    )
                )
    for number, model in enumerate(models):
        y = TOP + ROW * len(rows) + 22 + 18 * number
        parts.append(f'<circle cx="{LEFT}" cy="{y - 4}" r="4" fill="{MODEL_COLOURS[number % 6]}"/>')
        parts.append(f'<text x="{LEFT + 10}" y="{y}">{escape(model)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _dot(measure: IntervalFields, metric: MetricFields, y: float, colour: str) -> str:
    if math.isnan(measure["value"]):
        return ""
    over = 100 / 6 if metric["unit"] == "points" and metric["name"] == "score" else 1
    values = (measure["value"], measure["low"], measure["high"])
    x, low, high = (LEFT + WIDTH * min(110, max(-5, over * value)) / 100 for value in values)
    shown = f"{measure['value']:.1f}"
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{shown}</title></circle>'
    )
