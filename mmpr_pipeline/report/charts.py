"""Charts of the report: figures -> Vega-Lite specifications, drawn by `core.charts`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from mmpr_pipeline.core.charts import ACCENT, BAD, GOOD, INK, NEUTRAL, SECOND, chart_svg, with_own_ids
from mmpr_pipeline.dataset.files.layout import CountsFields
from mmpr_pipeline.dataset.review.stats import SolveRates

MOST_ROWS = 24
"""Rows of a chart by source or reason; the rest is summed in one row."""
STRATEGIES = {"correctness": "correctness", "dropout_ntp": "DropNTP", "preset": "preset", "given": "preset"}


_LengthBin = TypedDict("_LengthBin", {"from": float, "to": float, "chosen": int, "rejected": int})
"""Chosen and rejected responses of a range of lengths."""


class _LengthBalance(TypedDict):
    """Pairs of a source and strategy by which side is longer."""

    source: str
    strategy: str
    longer: NotRequired[int]
    equal: NotRequired[int]
    shorter: NotRequired[int]


class _Lengths(TypedDict):
    """Lengths of both sides: bins, the summary of each, and how they compare in each pair."""

    unit: str
    scale: str
    bins: list[_LengthBin]
    chosen: Mapping[str, float]
    rejected: Mapping[str, float]
    balance: list[_LengthBalance]


class _Part(TypedDict):
    """A part of a bar."""

    name: str
    kind: str
    n: int


def charts_of(figures: dict[str, Any]) -> dict[str, str]:
    """The report's charts by name; those without anything to show are left out."""
    lengths: _Lengths = figures["lengths"]
    sources: Mapping[str, CountsFields] = figures["sources"]
    spent: dict[str, int] = {
        source: counts["generated_tokens"] for source, counts in sources.items() if counts["generated_tokens"]
    }
    tokens: list[dict[str, str | int]] = [
        {"source": source, "tokens": spent[source]} for source in sorted(spent, key=lambda each: -spent[each])
    ]
    lost: list[dict[str, str | int]] = [
        {"reason": row["reason"].replace("_", " "), "questions": row["questions"]} for row in figures["lost"]
    ]
    specs: dict[str, dict[str, object] | None] = {
        "funnel": bar_chart(figures["funnel"], "step", "questions", ACCENT),
        "lost": bar_chart(lost, "reason", "questions", BAD) if lost else None,
        "pairs": pairs_by_source(figures["sources"]),
        "verdicts": verdicts_by_source(figures["sources"]),
        "solve_rates": solve_rates(figures["solve_rates"]),
        "lengths": length_curves(lengths) if lengths["bins"] else None,
        "balance": length_balance(lengths["balance"]) if lengths["bins"] else None,
        "rollouts": column_chart(figures["rollouts_per_question"], "rollouts of a question", ACCENT),
        "per_question": column_chart(figures["pairs_per_question"], "pairs of a question", SECOND),
        "tokens": bar_chart(tokens, "source", "tokens", SECOND),
    }
    return {name: with_own_ids(chart_svg(spec), name) for name, spec in specs.items() if spec}


def bar_chart(rows: Sequence[Mapping[str, str | int]], name: str, value: str, colour: str) -> dict[str, object] | None:
    """Horizontal bars in the given order, each with its number."""
    if not rows:
        return None
    kept = list(rows[:MOST_ROWS])
    if rest := rows[MOST_ROWS:]:
        kept = [*kept, {name: f"{len(rest)} others", value: sum(int(row[value]) for row in rest)}]
    top = max(int(row[value]) for row in kept)
    y = {"field": name, "type": "nominal", "sort": None, "title": None, "axis": {"domain": False, "labelColor": INK}}
    x = {"field": value, "type": "quantitative", "axis": None, "scale": {"domain": [0, max(top, 1) * 1.18]}}
    return {
        "data": {"values": kept},
        "height": {"step": 28},
        "encoding": {"y": y, "x": x},
        "layer": [
            {"mark": {"type": "bar", "color": colour, "cornerRadiusEnd": 3, "height": {"band": 0.66}}},
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": INK},
                "encoding": {"text": {"field": value, "format": ","}},
            },
        ],
    }


def stacked(
    parts: Iterable[_Part], field: str, kinds: dict[str, str], unit: str, *, share: bool
) -> dict[str, object] | None:
    """Horizontal bars of parts; `kinds` gives each part's colour in order; `share` draws all bars equally long."""
    rows = [{**part, field: part["name"]} for part in parts if part["n"]]
    if not rows:
        return None
    present = {kind: colour for kind, colour in kinds.items() if any(row["kind"] == kind for row in rows)}
    axis = {"format": "%" if share else "~s", "tickCount": 4, "domain": False}
    stack = "normalize" if share else "zero"
    x = {"field": "n", "type": "quantitative", "stack": stack, "title": unit, "axis": axis}
    return {
        "data": {"values": rows},
        "transform": [{"calculate": f"indexof({list(present)!r}, datum.kind)", "as": "order"}, _LABEL],
        "height": {"step": 28},
        "mark": {"type": "bar", "height": {"band": 0.66}},
        "encoding": {
            "y": {
                "field": field,
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"domain": False, "labelColor": INK},
            },
            "x": x,
            "color": _colours(present),
            "order": {"field": "order", "type": "quantitative"},
            "description": {"field": "label", "type": "nominal"},
        },
    }


def column_chart(counts: dict[int, int], title: str, colour: str) -> dict[str, object] | None:
    """Upright bars: how many questions have each number of something; small numbers each, else binned."""
    if len(counts) < 2:  # one bar says nothing that a sentence does not
        return None
    rows = [{"x": int(value), "n": number} for value, number in counts.items()]
    low, high = min(row["x"] for row in rows), max(row["x"] for row in rows)
    width = max(1, -(-(high - low + 1) // 32))
    binned = [{"x": low + (row["x"] - low) // width * width, "n": row["n"]} for row in rows]
    x = {
        "field": "x",
        "type": "ordinal",
        "title": title if width == 1 else f"{title} (from, {width} wide)",
        "axis": {"labelAngle": 0, "labelOverlap": "greedy"},
        "scale": {"domain": list(range(low, high + 1, width))},
    }
    y = {"aggregate": "sum", "field": "n", "type": "quantitative", "title": "questions", "axis": _COUNTS}
    mark = {"type": "bar", "color": colour, "cornerRadiusEnd": 2}
    return {"data": {"values": binned}, "height": 150, "mark": mark, "encoding": {"x": x, "y": y}}


def pairs_by_source(sources: Mapping[str, CountsFields]) -> dict[str, object] | None:
    """Pairs of each source by strategy."""
    rows: list[_Part] = [
        {"name": source, "kind": STRATEGIES.get(strategy, strategy), "n": number}
        for source, counts in _largest(sources, lambda counts: sum(counts["pairs"].values()))
        for strategy, number in counts["pairs"].items()
    ]
    return stacked(rows, "source", {"correctness": ACCENT, "DropNTP": SECOND, "preset": NEUTRAL}, "pairs", share=False)


def verdicts_by_source(sources: Mapping[str, CountsFields]) -> dict[str, object] | None:
    """Share of each verdict in the checked rollouts of each source."""
    colours = {"correct": GOOD, "incorrect": BAD, "unparseable": NEUTRAL}
    rows: list[_Part] = [
        {"name": source, "kind": outcome, "n": counts["rollouts"].get(outcome, 0)}
        for source, counts in _largest(sources, lambda counts: sum(counts["rollouts"].values()))
        for outcome in colours
    ]
    return stacked(rows, "source", colours, "share of checked rollouts", share=True)


def solve_rates(rates: Mapping[str, SolveRates]) -> dict[str, object] | None:
    """Questions by the share of their rollouts judged correct, all sources together."""
    names = ["none", *(f"{10 * i}–{10 * i + 10}%" for i in range(10)), "all"]
    totals = [0] * len(names)
    for found in rates.values():
        for i, number in enumerate([found["none"], *found["bins"], found["all"]]):
            totals[i] += number
    if not sum(totals):
        return None
    kinds = ["none correct", *["some correct"] * 10, "all correct"]
    rows = [{"x": name, "n": n, "kind": kind} for name, n, kind in zip(names, totals, kinds, strict=True)]
    return {
        "data": {"values": rows},
        "height": 150,
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "x": {
                "field": "x",
                "type": "ordinal",
                "sort": None,
                "title": "rollouts judged correct",
                "axis": {"labelAngle": -45},
            },
            "y": {"field": "n", "type": "quantitative", "title": "questions", "axis": _COUNTS},
            "color": _colours({"none correct": BAD, "some correct": ACCENT, "all correct": GOOD}),
        },
    }


def length_curves(lengths: _Lengths) -> dict[str, object]:
    """Both length histograms over each other, with their means as upright rules."""
    bins, unit = lengths["bins"], lengths["unit"]
    sides: dict[Literal["chosen", "rejected"], str] = {"chosen": GOOD, "rejected": BAD}
    steps = [{"x": b["from"], "n": b[side], "kind": side} for side in sides for b in bins]
    steps += [{"x": bins[-1]["to"], "n": bins[-1][side], "kind": side} for side in sides]  # the last step's own width
    means = [{"x": min(lengths[side]["mean"], bins[-1]["to"]), "kind": side} for side in sides]
    scale = {"domain": [bins[0]["from"], bins[-1]["to"]], "nice": False, "type": lengths["scale"]}
    axis = {"grid": False, "tickCount": 6}
    x = {"field": "x", "type": "quantitative", "title": f"{unit} (dashed: mean)", "scale": scale, "axis": axis}
    color = _colours({"chosen": GOOD, "rejected": BAD})
    area = {"type": "area", "interpolate": "step-after", "fillOpacity": 0.28, "line": {"strokeWidth": 1.5}}
    y = {"field": "n", "type": "quantitative", "stack": None, "title": "pairs", "axis": _COUNTS}
    return {
        "height": 170,
        "layer": [
            {"data": {"values": steps}, "mark": area, "encoding": {"x": x, "y": y, "color": color}},
            {
                "data": {"values": means},
                "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5},
                "encoding": {"x": x, "color": color},
            },
        ],
    }


def length_balance(groups: list[_LengthBalance]) -> dict[str, object] | None:
    """Share of pairs whose chosen response is longer, as long, shorter, by source and strategy."""
    names: dict[Literal["longer", "equal", "shorter"], str] = {
        "longer": "chosen",
        "equal": "equal",
        "shorter": "rejected",
    }
    many = {group["source"] for group in groups if group["strategy"] == "dropout_ntp"}
    rows: list[_Part] = []
    for group in groups[:MOST_ROWS]:
        strategy = STRATEGIES.get(group["strategy"], group["strategy"])
        name = f"{group['source']} · {strategy}" if group["source"] in many else group["source"]
        rows += [{"name": name, "kind": names[key], "n": group.get(key, 0)} for key in names]
    kinds = {"chosen": GOOD, "equal": NEUTRAL, "rejected": BAD}
    return stacked(rows, "group", kinds, "share of pairs by the longer response", share=True)


_LABEL = {"calculate": "datum.name + ': ' + format(datum.n, ',') + ' ' + datum.kind", "as": "label"}
_COUNTS = {"format": "~s", "tickCount": 4, "domain": False}


def _colours(kinds: Mapping[str, str]) -> dict[str, object]:
    return {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": list(kinds), "range": list(kinds.values())},
        "legend": {},
    }


def _largest(
    sources: Mapping[str, CountsFields], size: Callable[[CountsFields], int]
) -> Iterable[tuple[str, CountsFields]]:
    return sorted(sources.items(), key=lambda item: (-size(item[1]), item[0]))[:MOST_ROWS]
