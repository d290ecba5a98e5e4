"""The tables of a study as Markdown, beside the paper's numbers. And what table.json holds."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from mmpr_pipeline.evaluation.results import ComparisonFields, MeanFields

Way = Literal["cot", "cot_sampled", "direct", "hallucination", "missed"]
"""What is measured of a row."""


class SourceScore(TypedDict):
    """A mean, and its difference from the base where the row is not the base."""

    mean: MeanFields
    gain: NotRequired[ComparisonFields]


WayScores = dict[str, SourceScore | list[float]]
"""A `SourceScore` for each source and for `all`; `of_seeds` has the mean of each seed."""


class StudyRow(TypedDict):
    """A row of a table. Pairs and what they cost are summed over the seeds; the base has none."""

    label: str
    seeds: int
    pairs: NotRequired[int]
    rollouts: NotRequired[int]
    generated_tokens: NotRequired[int]
    tokens_a_pair: NotRequired[float]
    cot: NotRequired[WayScores]
    cot_sampled: NotRequired[WayScores]
    direct: NotRequired[WayScores]
    hallucination: NotRequired[WayScores]
    missed: NotRequired[WayScores]


class Claim(ComparisonFields):
    """Something that the study set out to show, and whether its interval shows it."""

    name: str
    what: str
    held: bool


class StudyChoices(TypedDict):
    """Of the study's settings those that tables and curves look at; all of them are there."""

    seeds: list[int]
    size: int
    losses: list[str]


class StepsDone(TypedDict):
    """How far the study is."""

    done: int
    of: int


class StudyResults(TypedDict):
    """table.json."""

    config: StudyChoices
    steps: StepsDone
    tables: dict[str, list[StudyRow]]
    headline: list[Claim]


def source_score(scores: WayScores | None, source: str) -> SourceScore | None:
    """The score of a source, or of `all`; None where it was not measured."""
    found = scores.get(source) if scores else None
    return None if isinstance(found, list) else found


def means_of_seeds(scores: WayScores | None) -> list[float]:
    """The mean of each seed; none where it was not measured."""
    found = scores.get("of_seeds") if scores else None
    return found if isinstance(found, list) else []


PAPER_M3COT = {
    "base": (59.3, 57.0),
    "sft": (65.7, 68.5),
    "dpo": (75.8, 72.7),
    "bco": (78.1, 78.4),
    "dpo+sft": (76.4, 78.9),
    "mpo": (77.7, 79.1),
}
"""M3CoT accuracy of InternVL2-8B, direct and by chain of thought (arXiv 2411.10442, the ablation of the losses)."""
PAPER_TOKENS_A_PAIR = {"feedback (RLAIF-V)": 992.7, "DropNTP": 571.2}
"""Generated tokens a pair (the same paper, DropNTP against RLAIF-V)."""
PAPER_OBJECT_HALBENCH = {"0.25": 9.3, "0.5": 7.6, "0.75": 11.6}
"""Hallucinated responses, %, by the share that DropNTP keeps (the same paper; lower is better)."""

TITLES = {
    "losses": "Losses, on the same pairs at equal compute",
    "pairs": "Number of pairs (MPO)",
    "DropNTP": "DropNTP, on and off and by the share that is kept (MPO)",
    "sampling": "Adaptive against flat sampling (MPO)",
    "signals": "More signals from the same engines (MPO)",
    "rounds": "Rounds: build with the trained model, train again (MPO)",
    "feedback": "Feedback against DropNTP on the same chosen responses (MPO)",
}
WAYS: dict[Way, str] = {
    "cot": "CoT, greedy",
    "cot_sampled": "CoT, T=1",
    "direct": "direct, greedy",
    "hallucination": "hallucination",
}


def study_markdown(results: StudyResults) -> str:
    """All tables, one after the other; rows that lack seeds yet say so."""
    steps = results["steps"]
    done = steps["done"] == steps["of"]
    claims = results["headline"]
    headline_rows = [
        [
            claim["what"],
            f"{100 * claim['difference']['mean']:+.1f}",
            _span(claim["difference"], "+"),
            f"{claim['better']} / {claim['worse']}",
            "yes" if claim["held"] else "no",
        ]
        for claim in claims
    ]
    headings = ["what", "difference, points", "95% interval", "better / worse questions", "shown"]
    parts = [
        *([] if done else [f"So far: {steps['done']} of {steps['of']} steps are done."]),
        ("### What was to be shown\n\n" + _grid(headings, headline_rows)),
    ]
    base, seeds = results["tables"]["losses"][0], len(results["config"]["seeds"])
    for name, rows in results["tables"].items():
        shown = rows if rows[0] is base else [base, *rows]
        parts.append(f"### {TITLES.get(name, name)}\n\n{_table(shown, name, seeds)}")
    if seeds > 1:
        parts.append(f"### Every seed, each with its own questions, rollouts and pairs\n\n{_seeds(results['tables'])}")
    return "\n\n".join(parts) + "\n"


def _table(rows: list[StudyRow], name: str, seeds: int) -> str:
    ways = [way for way in WAYS if any(way in row for row in rows)]
    sources_row = rows[0]
    sources = [name for name in sources_row.get("cot", {}) if name.startswith("nano_")]
    cost = ["tokens a pair"] if name in ("sampling", "signals", "feedback") else []
    headings = ["", "pairs", *cost, *(WAYS[way] for way in ways), *(f"CoT {s.removeprefix('nano_')}" for s in sources)]
    table = name
    if table == "losses":
        of = {name: f"{direct} / {cot}" for name, (direct, cot) in PAPER_M3COT.items()}
        paper = "paper, M3CoT: direct / CoT", of
    elif table == "DropNTP":
        paper = "paper, Object HalBench (lower is better)", {n: f"{v}" for n, v in PAPER_OBJECT_HALBENCH.items()}
    elif table == "feedback":
        paper = "paper, tokens a pair", {n: f"{v}" for n, v in PAPER_TOKENS_A_PAIR.items()}
    else:
        paper = None
    headings += [paper[0]] if paper else []
    lines = []
    for row in rows:
        whole = "pairs" not in row or row["seeds"] == seeds  # the base is of no seed
        paid = ["", ""]  # pairs of a seed, and the tokens that were generated for each; empty for the base
        if "pairs" in row:
            paid = [f"{row['pairs'] // row['seeds']:,}", f"{row['tokens_a_pair']:.0f}"]
        cells = [
            (row["label"] if whole else f"{row['label']} ({row['seeds']} of {seeds} seeds)"),
            *paid[: 1 + len(cost)],
        ]
        cells += [_cell(row.get(way), "all") for way in ways]
        cells += [_cell(row.get("cot"), source, short=True) for source in sources]
        cells += [paper[1].get(row["label"], "")] if paper else []
        lines.append(cells)
    return _grid(headings, lines)


def _seeds(tables: dict[str, list[StudyRow]]) -> str:
    """Each seed's mean, for every row and way of asking."""
    rows = [(f"{name}: {row['label']}", row) for name, rows in tables.items() for row in rows if "pairs" in row]
    ways = [way for way in WAYS if any(way in row for _, row in rows)]
    lines = [
        [label, *(", ".join(f"{100 * mean:.1f}" for mean in means_of_seeds(row.get(way))) for way in ways)]
        for label, row in rows
    ]
    return _grid(["", *(WAYS[way] for way in ways)], lines)


def _grid(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(headings), *lines[1:]])


def _cell(measured: WayScores | None, source: str, *, short: bool = False) -> str:
    """A mean in %, and the difference from the base with its interval where there is one."""
    score = source_score(measured, source)
    if score is None:
        return ""
    text = f"{100 * score['mean']['mean']:.1f}"
    if "gain" not in score:
        return text if short else f"{text} {_span(score['mean'])}"
    gain = score["gain"]["difference"]
    return f"{text} ({100 * gain['mean']:+.1f})" if short else f"{text} ({100 * gain['mean']:+.1f} {_span(gain, '+')})"


def _span(found: MeanFields, sign: str = "") -> str:
    return f"[{100 * found['low']:{sign}.1f}, {100 * found['high']:{sign}.1f}]"
