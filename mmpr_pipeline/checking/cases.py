"""`mmpr check`: labelled cases in a JSONL file -> a verdict for each, and how right the verdicts are.

One case a line: id, gold, response and/or prediction; kind, question, choices, golds, unit, precision, label if known.
A line that cannot be used is a verdict too, `unparseable` with a rule that names why; a run never stops half-way.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmpr_pipeline.checking.api import CHECKER, Trace, trace_answer, unusable
from mmpr_pipeline.checking.case import Gold, is_kind
from mmpr_pipeline.checking.measure import PlaceScore
from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.verdict import Outcome

Level = Literal["response", "prediction"]


NO_KIND = "?"
"""The kind under which a line without a usable case is counted."""


class BadCase(ValueError):
    """A line holds no usable case; the message is the rule of its verdict."""


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to be judged, with its gold; `label` says whether the answer is right, where that is known."""

    id: str
    answer: str
    level: Level
    gold: Gold
    kind: str
    source: str
    label: bool | None = None
    unknown_kind: str = ""
    """A kind that the case names and that is not known; its kind was inferred instead."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case's verdict as written out, and what the table needs."""

    id: str
    outcome: Outcome
    extracted: str | None
    rule: str
    kind: str
    source: str
    label: bool | None
    seconds: float
    place: str = ""
    unknown_kind: str = ""

    def line(self) -> str:
        """The line of the verdicts file."""
        row = {"id": self.id, "verdict": self.outcome, "extracted": self.extracted, "rule": self.rule}
        return json.dumps({**row, "checker": CHECKER}, ensure_ascii=False)


@dataclass(slots=True)
class Score:
    """Counts over some cases. Right is `correct` for a right answer, and anything else for a wrong one."""

    name: str
    cases: int = 0
    labelled: int = 0
    right: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    unparseable: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_id: str = ""

    def add(self, judged: Judged) -> None:
        """Count one verdict."""
        self.cases += 1
        self.unparseable += judged.outcome == "unparseable"
        self.seconds += judged.seconds
        if judged.seconds > self.slowest:
            self.slowest, self.slowest_id = judged.seconds, judged.id
        if judged.label is not None:
            positive = judged.outcome == "correct"
            self.labelled += 1
            self.right += positive == judged.label
            self.false_positives += positive and not judged.label
            self.false_negatives += judged.label and not positive

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled cases judged right, or None without labels."""
        return self.right / self.labelled if self.labelled else None

    @property
    def per_second(self) -> float:
        """Cases judged in a second."""
        return self.cases / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Summary:
    """Scores of a run: over all, by kind of answer, by source, and by the place where the answer was found."""

    total: Score = field(default_factory=lambda: Score("all"))
    by_kind: dict[str, Score] = field(default_factory=dict)
    by_source: dict[str, Score] = field(default_factory=dict)
    by_place: dict[str, PlaceScore] = field(default_factory=dict)
    unknown_kinds: Counter[str] = field(default_factory=Counter)
    """Kinds that cases named and that are not known: these cases were checked by a kind inferred from their gold."""
    unusable: Counter[str] = field(default_factory=Counter)
    """How many lines hold no usable case, by reason."""

    def add(self, judged: Judged) -> None:
        """Count one verdict everywhere."""
        self.total.add(judged)
        self.by_kind.setdefault(judged.kind, Score(judged.kind)).add(judged)
        self.by_source.setdefault(judged.source, Score(judged.source)).add(judged)
        if judged.kind == NO_KIND:
            self.unusable[judged.rule] += 1
        if judged.unknown_kind:
            self.unknown_kinds[judged.unknown_kind] += 1
        if judged.label is not None and judged.place:
            self.by_place.setdefault(judged.place, PlaceScore()).add(judged.outcome, judged.label)


def run_cases(path_in: str | Path, path_out: str | Path | None, source: Level | None = None) -> Summary:
    """Judge every line of a JSONL file, write a verdict for each, and count.

    `source` picks what is judged; by default a case's response where it has one that is not blank, else its
    prediction. Raises
    StoreError where the file cannot be read or the verdicts cannot be written.
    """
    summary = Summary()
    lines = []
    for judged in judge_file(path_in, source):
        summary.add(judged)
        lines.append(judged.line())
    if path_out is not None:
        try:
            Path(path_out).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"Cannot write {path_out}: {error.strerror}.", remedy="Name a folder that exists."
            ) from error
    return summary


def judge_file(path: str | Path, source: Level | None = None) -> Iterator[Judged]:
    """A verdict for each line that is not blank, in order."""
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield judge_line(line, number, source)


def judge_line(line: str, number: int = 0, source: Level | None = None) -> Judged:
    """The verdict on one line."""
    started = time.perf_counter()
    row: Any = None
    try:
        row = _parsed(line)
        case = case_of(row, number, source)
        trace = trace_case(case)
        verdict, place = trace.verdict, trace.extraction.rule
        kind, origin, label, name = case.kind, case.source, case.label, case.id
        unknown = case.unknown_kind
    except BadCase as reason:
        verdict, place, unknown = unusable(str(reason)), "", ""
        name = _id_of(row, number)
        kind, origin = NO_KIND, _source_of(row, name)
        label = row.get("label") if isinstance(row, Mapping) and isinstance(row.get("label"), bool) else None
    seconds = time.perf_counter() - started
    return Judged(name, verdict.outcome, verdict.extracted, verdict.rule, kind, origin, label, seconds, place, unknown)


def trace_case(case: Case) -> Trace:
    """The verdict on a case with everything that led to it."""
    return trace_answer(case.answer, case.gold, extracted=case.level == "prediction")


def find_case(path: str | Path, case_id: str, source: Level | None = None) -> Case | None:
    """The case of that id in a file; None if there is none."""
    for number, line in enumerate(_lines(path), 1):
        if line.strip() and case_id in line:
            try:
                case = case_of(_parsed(line), number, source)
            except BadCase:
                continue
            if case.id == case_id:
                return case
    return None


def explain(case: Case) -> str:
    """What was extracted from a case's answer, where it was looked for, and which rules were tried, as text."""
    trace = trace_case(case)
    found = trace.extraction
    lines = [
        f"{case.id}: {trace.verdict.outcome} by {trace.verdict.rule} ({CHECKER})",
        f"kind: {trace.kind}; judged: {case.level}; label: {case.label}",
        f"gold: {' | '.join(case.gold.golds)[:300]}",
        f"extraction: {found.status} by {found.rule}: {found.text!r}",
        *(f"  looked at {place}" for place in found.tried),
        *(f"  tried {m.rule}: {m.outcome}{f' ({m.detail})' if m.detail else ''}" for m in trace.matches),
    ]
    return "\n".join(lines)


def case_of(row: object, number: int = 0, source: Level | None = None) -> Case:
    """A case from a line's object. Raises BadCase, its message naming what is wrong."""
    if not isinstance(row, Mapping):
        raise BadCase("not_an_object")
    name = _id_of(row, number)
    # What is judged: the wanted level, or the other one where a case has nothing there.
    levels: tuple[Level, ...] = ("prediction", "response") if source == "prediction" else ("response", "prediction")
    answers = [(level, text) for level in levels if (text := _text(row.get(level))) is not None]
    if not answers:
        raise BadCase("missing_answer")
    level, answer = next((each for each in answers if each[1].strip()), answers[0])
    gold, more = row.get("gold"), row.get("golds")
    if isinstance(gold, list):
        gold, more = (json.dumps(gold, ensure_ascii=False), more) if row.get("kind") == "list" else (None, gold)
    texts = [_text(gold), *(_text(g) for g in (more if isinstance(more, list) else []))]
    golds = [text for text in texts if text is not None and text.strip()]
    if not golds:
        raise BadCase("missing_gold")
    kind = row.get("kind")
    if kind is not None and not isinstance(kind, str):
        raise BadCase("bad_kind")
    unknown = kind if kind and not is_kind(kind) else ""
    value = row.get("choices")
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else []
    precision = row.get("precision")  # one number, or one for each part of the gold
    numbers = [_number(part) for part in (precision[:50] if isinstance(precision, list) else [precision])]
    known = [number for number in numbers if number is not None]
    gold = Gold.of(
        golds[0],
        golds[1:],
        kind=None if unknown else kind,
        choices=[_text(v) or "" for v in values][:26],
        question=_text(row.get("question")) or "",
        unit=_text(row.get("unit")),
        precision=None if len(known) < len(numbers) else known if isinstance(precision, list) else known[0],
    )
    label = row.get("label") if isinstance(row.get("label"), bool) else None
    return Case(name, answer, level, gold, gold.asked.kind, _source_of(row, name), label, unknown)


def _lines(path: str | Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            yield from stream
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.", remedy="Check the path of the cases.") from error


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise BadCase("torn_line") from None


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        return None


def _id_of(row: object, number: int) -> str:
    name = row.get("id") if isinstance(row, Mapping) else None
    return str(name) if isinstance(name, str | int) else f"line {number}"


def _source_of(row: object, name: str) -> str:
    """The front of an id like `mathvista-00003`, else the source that the case names."""
    front, dash, end = name.rpartition("-")
    if dash and end.isdigit():
        return front
    source = row.get("source") if isinstance(row, Mapping) else None
    return source if isinstance(source, str) else "?"
