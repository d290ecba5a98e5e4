"""Two outputs side by side, joined by question: two builds, two models, or the same rollouts under two checkers.

What joins them is the question id, which depends on source, images and text alone. One shard of each is read at a time;
what is kept is a few numbers a question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.schemas import RolloutFields
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.report.viewer.browse import QuestionPlace
from mmpr_pipeline.storage import Store, open_store

FLIP = 0.5
"""A question counts as solved where more than this share of its checked rollouts is right."""
SHOWN = 40
"""Examples kept of each kind."""
ROLLOUTS_SHOWN = 60


class SourceRight(TypedDict):
    """Questions of a source in both outputs, and the share of their checked rollouts that is right in each."""

    source: str
    questions: int
    right: list[float | None]


class Flip(TypedDict):
    """A question that one side solved: its rollouts judged right, and checked, in each, and a response of each."""

    source: str
    source_id: str
    question: str
    answer: str | None
    right: list[list[int]]
    texts: tuple[str, str]


class FlipGroup(TypedDict):
    """How many questions flipped, with examples."""

    questions: int
    examples: list[Flip]


VerdictChange = TypedDict("VerdictChange", {"from": str, "to": str, "rule": str, "rollouts": int})
"""Rollouts whose verdict changed in the same way, by the rule that decides now."""


class VerdictSide(TypedDict):
    """What one output says of a rollout."""

    outcome: str | None
    extracted: str | None
    rule: str | None


class ChangedRollout(TypedDict):
    """A rollout with the same text and another verdict: what the base says, and what the other one says."""

    source: str
    source_id: str
    question: str
    answer: str | None
    index: int
    text: str
    sides: list[VerdictSide]


class ChangedVerdicts(TypedDict):
    """Rollouts with the same text in both, and those of them whose verdict changed."""

    compared: int
    changed: list[VerdictChange]
    examples: list[ChangedRollout]


class PairsInBoth(TypedDict):
    """Pairs in both outputs, only in the other one, only in the base."""

    both: int
    gained: int
    lost: int


class OutputsCompared(TypedDict):
    """What `compare_outputs` says."""

    names: list[str]
    questions: int
    only: list[int]
    sources: list[SourceRight]
    flipped: dict[str, FlipGroup]
    verdicts: ChangedVerdicts
    pairs: PairsInBoth


@dataclass
class OutputSide:
    """What one output says of its questions."""

    store: Store
    shards: int
    questions: dict[str, tuple[QuestionPlace, str, int, int]] = field(default_factory=dict)
    """Question id -> place, source, rollouts judged correct, rollouts judged correct or incorrect."""
    pairs: dict[str, str] = field(default_factory=dict)
    """Pair id -> question id."""

    @classmethod
    def read(cls, out: str | Path) -> OutputSide:
        """Raises DatasetError where no shard is finished."""
        store = open_store(out)
        side = cls(store, shards_of(store))
        for files in side.files():
            table = files.questions
            names = ("question_id", "source", "correct", "incorrect")
            for row, (name, source, right, wrong) in enumerate(
                zip(*(table.column(n).to_pylist() for n in names), strict=True)
            ):
                if name is not None:
                    side.questions.setdefault(name, (QuestionPlace(files.shard, row), source, right, right + wrong))
            for batch in record_batches(files.path("pairs"), ["pair_id", "question_id"]):
                side.pairs.update(zip(batch["pair_id"].to_pylist(), batch["question_id"].to_pylist(), strict=True))
        return side

    def files(self) -> Iterator[ShardFiles]:
        """Every finished shard."""
        present = set(self.store.list("manifests/"))
        for shard in range(self.shards):
            if any(key.startswith(f"manifests/{shard:05d}-") for key in present):
                yield ShardFiles(self.store, shard, self.shards)

    def solved(self, name: str) -> bool | None:
        """Whether most of the checked rollouts are right; None where none was checked."""
        *_, right, checked = self.questions[name]
        return right / checked > FLIP if checked else None


def compare_outputs(one: str | Path, other: str | Path) -> OutputsCompared:
    """Plain data, `one` being the base: `sources` with questions, and the share right in both; `flipped`: questions
    solved by only one side (`gained`: by the other, `lost`: by the base) with examples; `verdicts`: rollouts whose text
    is the same and whose verdict changed, by `from -> to` and rule, with examples; `pairs` in both, gained, lost;
    `only`: questions that only one side has. Raises DatasetError where nothing joins them.
    """
    base, new = OutputSide.read(one), OutputSide.read(other)
    both = [name for name in base.questions if name in new.questions]
    if not both:
        raise DatasetError(
            f"{one} and {other} have no question in common.",
            remedy="Compare outputs of the same sources; an id depends on source, images and text.",
        )
    flips: dict[str, list[str]] = {"gained": [], "lost": []}
    for name in both:
        before, after = base.solved(name), new.solved(name)
        if before is not None and after is not None and before != after:
            flips["gained" if after else "lost"].append(name)
    shared = base.pairs.keys() & new.pairs.keys()
    totals: dict[str, list[int]] = {}
    for sources_name in both:
        row = totals.setdefault(base.questions[sources_name][1], [0] * 5)
        found = (1, *base.questions[sources_name][2:], *new.questions[sources_name][2:])
        totals[base.questions[sources_name][1]] = [a + b for a, b in zip(row, found, strict=True)]
    return {
        "names": [_name(one), _name(other)],
        "questions": len(both),
        "only": [len(base.questions) - len(both), len(new.questions) - len(both)],
        "sources": (
            [
                {"source": source, "questions": n, "right": [a / x if x else None, b / y if y else None]}
                for source, (n, a, x, b, y) in sorted(totals.items())
            ]
        ),
        "flipped": {
            kind: {"questions": len(names), "examples": [_flip(base, new, name) for name in names[:SHOWN]]}
            for kind, names in flips.items()
        },
        "verdicts": _verdicts(base, new, set(both)),
        "pairs": {"both": len(shared), "gained": len(new.pairs) - len(shared), "lost": len(base.pairs) - len(shared)},
    }


def _verdicts(base: OutputSide, new: OutputSide, both: set[str]) -> ChangedVerdicts:
    """Changed verdicts on the same texts: what another checker, or a mark, made of them."""
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: list[ChangedRollout] = []
    compared = 0
    for files in base.files():
        names = [name for name in files.row_of if name in both]
        theirs: dict[str, dict[int, RolloutFields]] = {}
        for place in {new.questions[name][0].shard for name in names}:
            wanted = [name for name in names if new.questions[name][0].shard == place]
            other = ShardFiles(new.store, place, new.shards)
            for name in wanted:
                theirs[name] = {rollout["index"]: rollout for rollout in other.rollouts(name)}
        for name in names:
            for rollout in files.rollouts(name):
                match = theirs[name].get(rollout["index"])
                if rollout["outcome"] is None or match is None or match["text"] != rollout["text"]:
                    continue
                compared += 1
                if match["outcome"] != rollout["outcome"]:
                    counts[rollout["outcome"], match["outcome"] or "none", match["rule"] or ""] += 1
                    if len(examples) < ROLLOUTS_SHOWN:
                        question = files.question(files.row_of[name])
                        text = rollout["text"] if len(rollout["text"]) < 700 else "… " + rollout["text"][-700:]
                        examples.append(
                            {
                                "source": question["source"],
                                "source_id": question["source_id"],
                                "answer": question["answer"],
                                "question": question["text"][:400],
                                "index": rollout["index"],
                                "text": text,
                                "sides": [
                                    {"outcome": r["outcome"], "extracted": r["extracted"], "rule": r["rule"]}
                                    for r in (rollout, match)
                                ],
                            }
                        )
    changed: list[VerdictChange] = [
        {"from": a, "to": b, "rule": rule, "rollouts": n} for (a, b, rule), n in counts.most_common()
    ]
    return {"compared": compared, "changed": changed, "examples": examples}


def _flip(base: OutputSide, new: OutputSide, name: str) -> Flip:
    place, source, *before = base.questions[name]
    files = ShardFiles(base.store, place.shard, base.shards)
    question = files.question(place.row)
    there = new.questions[name]
    texts = (
        _telling(files.rollouts(name), before[0] * 2 > before[1]),
        _telling(ShardFiles(new.store, there[0].shard, new.shards).rollouts(name), there[2] * 2 > there[3]),
    )
    return {
        "source_id": question["source_id"],
        "answer": question["answer"],
        "source": source,
        "question": question["text"][:400],
        "right": [before, list(there[2:])],
        "texts": texts,
    }


def _telling(rollouts: list[RolloutFields], solved: bool) -> str:
    """A response that shows what most of them came to."""
    wanted = "correct" if solved else "incorrect"
    return next((r["text"] for r in rollouts if r["outcome"] == wanted), rollouts[0]["text"] if rollouts else "")


def _name(out: str | Path) -> str:
    return str(out).rstrip("/").rpartition("/")[2] or str(out)
