"""What `mmpr top` shows of a build: a page to be left open, at 80 columns and at 200."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.core.progress import duration, roughly
from mmpr_pipeline.pipeline.watch.status import SILENT_SECONDS, BuildStatus, State

STYLES: dict[State, str] = {
    "running": "bold green",
    "finished": "bold green",
    "stopped": "bold yellow",
    "unfinished": "bold yellow",
    "killed": "bold red",
    "failed": "bold red",
}
MOST_SOURCES, MOST_REASONS, MOST_BLOCKS = 12, 3, 4 * 64
WIDEST_NAME = 24
"""Columns of a terminal that the name of a source may take."""
_LEVELS = "▁▂▃▄▅▆▇█"


def status_text(seen: BuildStatus) -> RenderableType:
    """The look as a person reads it."""
    return Group(*_parts(seen))


def _parts(seen: BuildStatus) -> Iterator[RenderableType]:
    yield _headline(seen)
    if seen.state in ("running", "stopped", "killed", "failed") and seen.rows:
        yield _bar(seen)
    if seen.state == "running" and seen.rows:
        yield _engines(seen)
        if seen.points:
            yield _Sparks(seen.points)
    yield from _advice(seen)
    if seen.shards > 1 and seen.state != "finished":
        yield _Shards(seen)
    if seen.sources:
        yield Text()
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        widest = min(max(len(source.name) for source in seen.sources), WIDEST_NAME)
        table.add_column("source", overflow="ellipsis", no_wrap=True, min_width=widest, max_width=WIDEST_NAME)
        for name in ("questions", "paired", "right"):
            table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
        table.add_column("without a pair", ratio=1)
        shown = sorted(seen.sources, key=lambda source: -source.questions)
        for source in shown[:MOST_SOURCES]:
            right = f"{source.correct / source.checked:.0%}" if source.checked else "-"
            table.add_row(
                Text(source.name), f"{source.questions:,}", f"{source.paired:,}", right, Text(_reasons(source.rejects))
            )
        if len(shown) > MOST_SOURCES:
            table.add_row(Text(f"{len(shown) - MOST_SOURCES} more", "dim"))
        yield table
    elif seen.rejects:
        yield Text(f"Without a pair: {_reasons(seen.rejects)}")
    if seen.deaths or seen.restarts:
        causes = ", ".join(f"{cause.replace('_', ' ')} {count}" for cause, count in seen.deaths.items())
        yield Text(f"Engine deaths: {causes or seen.restarts}", "red")
    if seen.log:
        yield Text()
        for line in seen.log:
            style = "yellow" if " warning " in line else "red" if " error " in line else "dim"
            yield Text(_printable(line), style, no_wrap=True, overflow="ellipsis")


def _headline(seen: BuildStatus) -> Text:
    text = Text.assemble((seen.state, STYLES[seen.state]), "  ")
    if seen.state == "running" and seen.stage:
        text.append(f"{_printable(seen.stage)}  ")
    if seen.shards:
        text.append(f"{seen.finished:,}/{seen.shards:,} shards  {seen.pairs:,} pairs")
        if seen.rollouts:
            text.append(f"  {seen.rollouts:,} rollouts")
    if seen.since is not None:
        text.append(f"  {duration(seen.since)}", "dim")
    return text


def _bar(seen: BuildStatus) -> RenderableType:
    share = f"{seen.questions / seen.rows:.0%}"
    figures = [f"{seen.questions:,}/{seen.rows:,} questions", share]
    if seen.left is not None:
        figures.append(f"{roughly(seen.left)} left")
    line = Table.grid(padding=(0, 2, 0, 0), expand=True)
    line.add_column(ratio=1)
    for _ in figures:
        line.add_column(no_wrap=True, justify="right")
    line.add_row(ProgressBar(seen.rows, seen.questions), *figures)
    return line


def _engines(seen: BuildStatus) -> Text:
    where = f"{seen.engines} engine{'' if seen.engines == 1 else 's'}" if seen.engines else "engines in the workers"
    parts = [where]
    if seen.busy is not None:
        parts.append(f"{seen.busy:.0%} busy")
    parts.append(f"{seen.in_flight:,} requests in flight")
    if seen.tokens_per_second is not None:
        parts.append(f"{seen.tokens_per_second:,.0f} tokens/s")
    if seen.prefix_hits is not None:
        parts.append(f"KV cache {seen.kv_use:.0%} full")
        parts.append(f"{seen.prefix_hits:.0%} of prompt tokens cached")
    if seen.preemptions:
        parts.append(f"{seen.preemptions:,} rollouts computed again")
    text = Text("  ".join(parts))
    if seen.waiting or seen.lost:
        text.append(f"\n{seen.waiting} engines are starting, {seen.lost} were given up", "bold yellow")
    return text


def _advice(seen: BuildStatus) -> Iterator[Text]:
    """What it means and what to do. Where a process holds the lease, never to start another."""
    if seen.state == "running" and seen.silent_for > SILENT_SECONDS:
        yield Text(f"It is at work, but has said nothing for {duration(seen.silent_for)}: see its log.", "yellow")
    if seen.state == "failed":
        yield Text(_printable(seen.why), "red")
    goes_on = "No build is at work here. The same `mmpr build` goes on from here."
    if seen.state == "stopped":
        yield Text(f"It was stopped, and kept every finished rollout. {goes_on}")
    elif seen.state == "killed":
        yield Text(f"It was killed {duration(seen.silent_for)} ago, or its machine went down. {goes_on}")
    elif seen.state in ("failed", "unfinished"):
        yield Text(goes_on)


class _Sparks:
    """Tokens a second and requests in flight over the last minutes, as wide as the terminal allows."""

    def __init__(self, points: Sequence[tuple[float, float, int]]) -> None:
        self._points = points

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = max(8, min(60, (options.max_width - 44) // 2))
        shown = self._points[-width:]
        rates, flights = [rate for _, rate, _ in shown], [float(flight) for *_, flight in shown]
        minutes = duration(shown[-1][0] - shown[0][0])
        text = Text.assemble("tokens/s ", (spark(rates), "cyan"), f" {rates[-1]:,.0f}")
        text.append("  in flight ").append(spark(flights), "magenta").append(f" {flights[-1]:,.0f}")
        yield text.append(f"  {minutes}", "dim")


def spark(values: Sequence[float]) -> str:
    """Values as blocks between zero and the greatest."""
    most = max(values, default=0.0)
    return "".join(_LEVELS[min(7, int(8 * max(0.0, value) / most))] if most > 0 else _LEVELS[0] for value in values)


class _Shards:
    """A block for each shard: full where finished, part-full where at work; of very many, one for several."""

    def __init__(self, seen: BuildStatus) -> None:
        self._seen = seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        of, done = self._seen.shards, set(self._seen.done)
        each = -(-of // MOST_BLOCKS)
        text = Text("shards ")
        width = max(16, min(64, options.max_width - 8))
        for number, start in enumerate(range(0, of, each)):
            group = range(start, min(start + each, of))
            share = sum(1.0 if shard in done else self._seen.at_work.get(shard, 0.0) for shard in group) / len(group)
            working = any(shard in self._seen.at_work for shard in group)
            if number and number % width == 0:
                text.append("\n       ")
            if share >= 1:
                text.append("█", "green")
            elif working or share > 0:
                text.append(_LEVELS[min(6, int(7 * share))], "yellow")
            else:
                text.append("·", "dim")
        if each > 1:
            text.append(f"\n       a block is {each} shards", "dim")
        yield text


def _reasons(rejects: dict[str, int]) -> str:
    """Questions without a pair by reason, the most frequent first."""
    most = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{reason.replace('_', ' ')} {count:,}" for reason, count in most[:MOST_REASONS]]
    rest = sum(count for _, count in most[MOST_REASONS:])
    return ", ".join([*named, *([f"others {rest:,}"] if rest else [])])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
