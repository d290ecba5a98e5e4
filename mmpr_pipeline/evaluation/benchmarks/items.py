"""The rows of a benchmark as items: a question with its own user turn, and what scoring needs to know of the row."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Prompting, Question, Reject
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.rollouts.prompts import place_images, prompt_for, template_for, version_of
from mmpr_pipeline.sources.files.formats import Unreadable
from mmpr_pipeline.sources.rows.columns import cell_text, lookup, place_marks
from mmpr_pipeline.sources.source import Source, open_source

_PLACE = re.compile(r"\{([A-Za-z_][\w.;\- ]{0,63})\}")


@dataclass(frozen=True)
class BenchmarkItem:
    """One item of a benchmark. `row` holds the columns that the benchmark looks at, by name."""

    question: Question
    row: dict[str, object] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The item's groups in each breakdown: `{"topic": ("physics",)}`."""
    cycle: str = ""
    """What the rotations of one question share; empty where there are none."""

    @property
    def cluster(self) -> str:
        """Items of one cluster are not independent observations: they share their images, or are rotations of one."""
        if self.question.images:
            return ",".join(image.sha256 for image in self.question.images)
        return self.cycle or self.question.question_id

    def cells(self, column: str) -> list[object]:
        """A column of the row that holds a list; empty where it is null."""
        value = self.row.get(column)
        return list(value) if isinstance(value, list | tuple) else []

    def text(self, column: str) -> str:
        """A column of the row as text; empty where it is null."""
        value = self.row.get(column)
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else cell_text(value) or ""


def read_items(benchmark: Benchmark, config: EvalConfig) -> Iterator[BenchmarkItem | Reject]:
    """The items in order, `limit` of them after `skip`, and in their places the rows that are unusable.

    Rows that the benchmark's `where` leaves out are not part of it. One row at a time is in memory: images may be
    large. Raises SourceError, ConfigError.
    """
    source = replace(_source(benchmark, config), also=benchmark.columns())
    whole = None if config.limit is None or benchmark.where else config.limit + config.skip
    index = source.index(whole)
    part = 0
    for number, (row, found) in enumerate(source.read_with_rows(index, 0, index.rows)):
        known = {} if isinstance(row, Unreadable) else {name: lookup(row, name) for name in benchmark.columns()}
        if any((cell_text(known.get(name)) or "") not in values for name, values in benchmark.where.items()):
            continue
        if isinstance(found, Reject) and found.reason == "not_selected":
            continue
        part += 1
        if config.limit is not None and part > config.skip + config.limit:
            return
        if part > config.skip:
            yield found if isinstance(found, Reject) else _item(benchmark, found, known, number)


def tiles_of(benchmark: Benchmark, config: EvalConfig) -> int:
    """Most tiles of an image that the benchmark's rows ask for. Raises ConfigError."""
    return _source(benchmark, config).declaration.tiles


def _source(benchmark: Benchmark, config: EvalConfig) -> Source:
    if isinstance(benchmark.rows, str):
        return open_source(benchmark.rows, config.data_root)
    return Source(benchmark.rows, Path(config.benchmark_data or config.data_root or ".").resolve())


def _item(benchmark: Benchmark, question: Question, row: dict[str, object], number: int) -> BenchmarkItem:
    groups: dict[str, tuple[str, ...]] = {}
    for name, by in benchmark.by.items():
        if isinstance(by, str):
            groups[name] = tuple(_names(row.get(by)))
        else:
            groups[name] = tuple(_names((cell_text(row.get(by.column)) or "").split(by.split)))
    cycle = ""
    if benchmark.cycle and benchmark.cycle.startswith("rows:"):
        cycle = f"{benchmark.name}/{number // int(benchmark.cycle.removeprefix('rows:'))}"
    elif benchmark.cycle:
        cycle = cell_text(row.get(benchmark.cycle)) or ""
    return BenchmarkItem(question, row, groups, cycle)


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _names(each)
    elif value is not None and str(value).strip():
        yield str(value).strip()


def as_asked(benchmark: Benchmark, item: BenchmarkItem, config: EvalConfig) -> Question:
    """The item's question with the user turn that is put to the model."""
    question = item.question
    if benchmark.prompt is None:
        turn = prompt_for(question, config.asked_in, config.prompt_language)
        return _asked(question, turn.text, turn.version)
    own = benchmark.prompt
    template = template_for(question.model_copy(update={"prompting": None}), config.asked_in, config.prompt_language)
    if own.open:
        how = ""
    elif config.mode == "direct":
        how = own.direct
    else:
        how = template.suffix if own.cot is None else own.cot
    body = _filled(own.body, item).strip()
    text = "\n".join(part for part in (body, how) if part)
    marked, _ = place_marks(text, len(question.images))
    style = "open" if own.open else "direct" if config.mode == "direct" else template.label
    if not own.open and (config.mode == "direct" or own.cot is not None):
        style = f"{config.asked_in}@{version_of(how)}"
    label = f"{style}+{benchmark.name}@{version_of(own.body)}"
    return _asked(question, place_images(marked, len(question.images)), label)


def _asked(question: Question, turn: str, label: str) -> Question:
    return question.model_copy(update={"prompting": Prompting(turn=turn, label=label)})


def _filled(body: str, item: BenchmarkItem) -> str:
    """The body with every `{NAME}` replaced once: what a row holds is not looked at for places again."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name == "question":
            return item.question.text
        if name == "choices":
            letters = string.ascii_uppercase
            return "\n".join(f"({letters[i]}) {choice}" for i, choice in enumerate(item.question.choices))
        if name not in item.row:
            raise ItemRejected("missing_column", name)
        value = item.row[name]
        return "\n".join(map(str, value)) if isinstance(value, list | tuple) else item.text(name)

    return _PLACE.sub(value, body)
