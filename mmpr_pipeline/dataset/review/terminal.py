"""Tables and bars for the terminal, shared by summary and stats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.dataset.files.layout import checked_rollouts
from mmpr_pipeline.dataset.files.summary import BuildSummary, RunFigures
from mmpr_pipeline.dataset.review.beside import beside_sentences
from mmpr_pipeline.dataset.review.stats import DatasetStats
from mmpr_pipeline.screening.report import report_sentences, unchecked

if TYPE_CHECKING:
    from mmpr_pipeline.dataset.review.verify import Report

BAR_WIDTH = 32
MOST_PROBLEMS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A horizontal bar of `share` (0 to 1) of `width` cells, in eighths of a cell; never empty for more than zero."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    eighths = max(eighths, 1) if share > 0 else 0
    return _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def percent(part: float, whole: float) -> str:
    """`part` of `whole` as a percentage; a dash where there is no whole."""
    return f"{100 * part / whole:.1f}%" if whole else "-"


def heading(text: str) -> RenderableType:
    """A section's title."""
    return Padding(Text(text, style="bold"), (1, 0, 0, 0))


def count_bars(rows: Iterable[tuple[str, int, str]], whole: int) -> Table:
    """One line for each (name, count, style): name, count, share of `whole`, bar against the greatest count."""
    rows = list(rows)
    most = max((count for _, count, _ in rows), default=0)
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    for name, count, style in rows:
        shown = Text(bar(count / most if most else 0), style=style)
        table.add_row(escape(name), f"{count:,}", percent(count, whole), shown)
    return table


def grid(columns: Iterable[str], rows: Iterable[Iterable[str]], total: Iterable[str] | None = None) -> Table:
    """A table whose first column is names and whose others are figures, with an optional last row of totals."""
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0), pad_edge=False)
    for position, name in enumerate(columns):
        if position == 0:
            table.add_column(name, overflow="fold", min_width=8)
        else:
            table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*map(escape, row))
    if total is not None:
        table.add_section()
        table.add_row(*map(escape, total), style="bold")
    return table


def summary_page(summary: BuildSummary | DatasetStats) -> RenderableType:
    """The totals of a dataset: a headline, a table by source, and what became of the questions."""
    counts = summary["counts"]
    strategies = sorted(summary["counts"]["pairs"])
    header = ["source", "rows", "paired", "unpaired", "rejected", *(_strategy(s) for s in strategies)]
    header += ["rollouts", "right"]
    rows = [_source_row(name, counts, strategies) for name, counts in summary["sources"].items()]
    total = _source_row("all", summary["counts"], strategies) if len(rows) > 1 else None
    parts: list[RenderableType] = [_headline(summary), heading("By source"), grid(header, rows, total)]
    parts += [heading("What became of the questions"), fates(counts)]
    if beside := beside_sentences(counts):
        parts += [heading("Beside the questions"), *map(Text, beside)]
    report = summary.get("screening")
    screened = (*report_sentences(report), unchecked(report)) if report else ()
    if notices := [*summary.get("warnings", ()), *filter(None, screened)]:
        parts += [heading("Please note"), *map(Text, notices)]
    notes = [note for note in (_recorded(summary), _pace(summary)) if note]
    return Group(*parts, *([heading("This run"), *map(Text, notes)] if notes else []))


def _recorded(summary: BuildSummary | DatasetStats) -> str | None:
    """Where the rollouts of a recorded file went."""
    recorded = cast(BuildSummary, summary).get("recorded")
    if not recorded:
        return None
    unused = f"{recorded['unused']:,} belong to no question that was sampled" if recorded["unused"] else "none unused"
    broken = f", {recorded['unusable_lines']:,} unusable lines" if recorded["unusable_lines"] else ""
    return f"{recorded['rollouts']:,} recorded rollouts: {recorded['used']:,} used, {unused}{broken}."


def _pace(summary: BuildSummary | DatasetStats) -> str | None:
    """How long the last run took, and what it found done before."""
    run = cast(BuildSummary, summary).get("run", RunFigures())
    if not run.get("shards"):
        return None
    seconds, made = run["seconds"], run.get("rollouts", 0) - run.get("resumed", 0)
    resumed = f", {run['resumed']:,} taken from the journal" if run.get("resumed") else ""
    engine = run.get("engine", {})
    what = "made" if engine else "read"  # pairs that are made again, and merged outputs, ask no engine
    died = f", {engine['restarts']} engine restarts" if engine.get("restarts") else ""
    lost = f", {engine['lost']} engines given up" if engine.get("lost") else ""
    return f"{run['shards']:,} shards in {seconds:,.0f} s: {made:,} rollouts {what}{resumed}{died}{lost}."


def _headline(summary: BuildSummary | DatasetStats) -> Text:
    counts = summary["counts"]
    pairs = sum(counts["pairs"].values())
    text = Text()
    text.append(f"{pairs:,} pairs", style="bold green")
    text.append(f" of {counts['paired']:,} questions out of {counts['questions']:,}, from ")
    text.append(f"{sum(counts['rollouts'].values()):,} rollouts", style="bold")
    if pairs and counts["generated_tokens"]:
        text.append(f" ({counts['generated_tokens']:,} tokens, {counts['generated_tokens'] / pairs:,.0f} a pair)")
    shards = summary.get("finished", summary["shards"])
    text.append(f", with {counts['images']:,} images, in {shards:,} shards ({human_size(summary['bytes'])})")
    return text


def _source_row(name: str, counts: Mapping[str, Any], strategies: list[str]) -> list[str]:
    rollouts = counts["rollouts"]
    checked = checked_rollouts(rollouts)
    return [
        name,
        f"{counts['questions']:,}",
        f"{counts['paired']:,}",
        f"{sum(counts['unpaired'].values()):,}",
        f"{sum(counts['rejected'].values()):,}",
        *(f"{counts['pairs'].get(strategy, 0):,}" for strategy in strategies),
        f"{sum(rollouts.values()):,}",
        percent(rollouts.get("correct", 0), checked),
    ]


def _strategy(name: str) -> str:
    return {"dropout_ntp": "DropNTP"}.get(name, name)


def fates(counts: Mapping[str, Any]) -> Table:
    """A bar for paired, for each reason of unpaired and for each reason of rejected questions, greatest first."""
    rows = [("paired", counts["paired"], "green")]
    for status, style in (("unpaired", "yellow"), ("rejected", "red")):
        reasons = sorted(counts[status].items(), key=lambda item: (-item[1], item[0]))
        rows += [(f"{status}: {reason.replace('_', ' ')}", count, style) for reason, count in reasons]
    return count_bars(rows, counts["questions"])


def human_size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def verify_page(report: Report) -> RenderableType:
    """What was checked, and each problem by name, the first few of them in full."""
    checked = f"{report.shards:,} shards, {report.files:,} files, {human_size(report.bytes)}, {report.pairs:,} pairs"
    if report.ok:
        return Text.assemble(("All is as promised", "bold green"), f": {checked}.")
    # A build that is not finished is one thing to know, not a problem for each of its shards.
    wrong = [problem for problem in report.problems if problem.name not in ("unfinished", "left_over")]
    unfinished = len(wrong) < len(report.problems) and report.finished < report.shards
    state = Text(f"Not finished: {report.finished:,} of {report.shards:,} shards are there.", "bold yellow")
    running = Text(f"A build is at work on it: `mmpr top {report.out}` shows how far it is; verify it at its end.")
    if unfinished and not wrong:
        whole = Text(f"What is there is as promised: {checked.partition(' shards, ')[2]}.")
        advice = [running] if report.running else [Text(f"What to do: {told}") for told in report.remedies]
        return Group(state, whole, *advice)
    if not unfinished:
        wrong = report.problems
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("problem", "where", "what"):
        table.add_column(name, overflow="fold")
    for problem in wrong[:MOST_PROBLEMS]:
        table.add_row(Text(problem.name, "red"), escape(problem.where), escape(problem.detail))
    more = len(wrong) - MOST_PROBLEMS
    names = Counter(problem.name for problem in wrong)
    found = ", ".join(f"{count} {name}" for name, count in names.most_common())
    headline = Text.assemble(
        (f"{len(wrong):,} problem{'s'[: len(wrong) > 1]}", "bold red"), f" ({found}) in {checked}."
    )
    head = [state, *([running] if report.running else []), headline] if unfinished else [headline]
    rest = [Text(f"... and {more:,} more", "dim")] if more > 0 else []
    return Group(*head, Text(), table, *rest, Text(), *(Text(f"What to do: {told}") for told in report.remedies))


def stats_page(figures: DatasetStats) -> RenderableType:
    """The summary's page, then lengths by source and strategy, solve rates and pairs per question."""
    parts: list[RenderableType] = [summary_page(figures)]
    if figures["finished"] < figures["shards"]:
        notice = f"Not finished: {figures['finished']:,} of {figures['shards']:,} shards. All figures are of these."
        parts.insert(0, Text(notice, "bold yellow"))
    if figures["groups"]:
        parts += [heading("Tokens by source and strategy"), _lengths(figures["groups"])]
    styles, rollouts = {"correct": "green", "incorrect": "red", "unparseable": "yellow"}, figures["counts"]["rollouts"]
    bars = [(outcome, count, styles.get(outcome, "cyan")) for outcome, count in rollouts.items()]
    parts += [heading("Rollouts"), count_bars(bars, sum(rollouts.values()))]
    if any(found["none"] + sum(found["bins"]) + found["all"] for found in figures["solve_rates"].values()):
        parts += [heading("Questions by share of correct rollouts"), _solve_rates(figures["solve_rates"])]
    if figures["pairs_per_question"]:
        per_question = sorted((int(pairs), count) for pairs, count in figures["pairs_per_question"].items())
        whole = sum(count for _, count in per_question)
        parts += [heading("Questions by number of pairs")]
        parts += [count_bars([(str(pairs), count, "cyan") for pairs, count in per_question], whole)]
    return Group(*parts)


def _lengths(groups: Iterable[Mapping[str, Any]]) -> Table:
    header = ["source", "strategy", "pairs", "prompt", "chosen", "p95", "rejected", "p95", "chosen longer"]
    return grid(
        header,
        (
            [
                group["source"],
                _strategy(group["strategy"]),
                f"{group['pairs']:,}",
                *_figures(group["prompt_tokens"], "mean"),
                *_figures(group["chosen_tokens"], "mean", "p95"),
                *_figures(group["rejected_tokens"], "mean", "p95"),
                "-" if group["chosen_longer"] is None else f"{100 * group['chosen_longer']:.0f}%",
            ]
            for group in groups
        ),
    )


def _figures(lengths: Mapping[str, float], *names: str) -> list[str]:
    """Figures of token counts; dashes where none is known (recorded rollouts)."""
    return [f"{lengths[name]:,.0f}" if lengths["count"] else "-" for name in names]


def _solve_rates(solve_rates: Mapping[str, Mapping[str, Any]]) -> Table:
    none = sum(found["none"] for found in solve_rates.values())
    every = sum(found["all"] for found in solve_rates.values())
    bins = [sum(column) for column in zip(*(found["bins"] for found in solve_rates.values()), strict=True)]
    step = 100 // len(bins)
    rows = [("none", none, "red")]
    rows += [(f"{step * i}-{step * (i + 1)}%", count, "cyan") for i, count in enumerate(bins)]
    rows += [("all", every, "green")]
    return count_bars(rows, none + every + sum(bins))
