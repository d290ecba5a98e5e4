"""Names of the files of a dataset, what each holds, and the manifest of a shard.

The manifest: how many of what, why not more, and the hash of every file. No clock, host or path.

OUT/config.json                              the build's settings and identity, written first
OUT/pairs/pairs-00017-of-00512.arrow         preference pairs, those of one question side by side
OUT/images/images-00017-of-00512.arrow       each image of the shard once
OUT/rollouts/rollouts-00017-of-00512.arrow   every rollout with its verdict
OUT/questions/questions-00017-of-00512.arrow every source row and what became of it
OUT/manifests/00017-of-00512.json            counts and hashes of the shard, written last: it is finished
OUT/summary.json                             totals, written last of all: the dataset is finished
OUT/journal/00017-of-00512/                  only while the shard is being made
OUT/reference/KEY/reference-00017-of-00512.arrow  log-probs under a reference model, left by training (not verified)
OUT/screening/                               what was decided of every source row before sampling
OUT/logs/                                    what happened to engines, shards and stores (not verified)
OUT/marks.jsonl                              verdicts corrected by a person in `mmpr view` (not verified)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NotRequired, TypedDict, cast, get_args

import pyarrow as pa
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from mmpr_pipeline import screening
from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.logs import FOLDER
from mmpr_pipeline.core.records import SCHEMA_VERSION, QuestionOutcome, Record
from mmpr_pipeline.core.schemas import IMAGE_SCHEMA, PAIR_SCHEMA, QUESTION_SCHEMA, ROLLOUT_SCHEMA
from mmpr_pipeline.core.verdict import Outcome
from mmpr_pipeline.rollouts.prompts import UNDECIDED_VOTES, counted_as

REFERENCE = "reference/"
CONFIG = "config.json"
SUMMARY = "summary.json"
MARKS = "marks.jsonl"
PROGRESS = ".progress.json"
"""What a running build says of itself; hidden, and deleted at its end."""
SCREENING = screening.FOLDER
JOURNALS = "journal/"
LOGS = FOLDER
SCREENED = (screening.DROPPED, screening.REPORT, screening.STATUS)
"""What screening leaves; its pieces are gone when it is done."""
SCHEMAS: dict[str, pa.Schema] = {
    "pairs": PAIR_SCHEMA,
    "images": IMAGE_SCHEMA,
    "rollouts": ROLLOUT_SCHEMA,
    "questions": QUESTION_SCHEMA,
}
"""Kinds of Arrow files and their schemas."""


def shard_key(kind: str, shard: int, num_shards: int) -> str:
    """Key of a file of a shard: an Arrow file (`pairs`, `images`, `rollouts`, `questions`), or its `manifest`; or the
    prefix of its `journal`."""
    part = f"{shard:05d}-of-{num_shards:05d}"
    if kind == "manifest":
        return f"manifests/{part}.json"
    return f"{JOURNALS}{part}" if kind == "journal" else f"{kind}/{kind}-{part}.arrow"


def expected(num_shards: int) -> set[str]:
    """Every key of a finished dataset of `num_shards` shards."""
    keys = {CONFIG, SUMMARY}
    for shard in range(num_shards):
        keys |= {shard_key(kind, shard, num_shards) for kind in ("manifest", *SCHEMAS)}
    return keys


class Counts(Record):
    """What became of some questions. questions = paired + sum(unpaired) + sum(rejected), always."""

    questions: int = Field(default=0, description="Source rows read.")
    paired: int = Field(default=0, description="Questions with at least one pair.")
    unpaired: dict[str, int] = Field(default_factory=dict, description="Sampled questions without a pair, by reason.")
    rejected: dict[str, int] = Field(default_factory=dict, description="Rows that could not be used, by reason.")
    pairs: dict[str, int] = Field(default_factory=dict, description="Pairs by strategy.")
    rollouts: dict[str, int] = Field(
        default_factory=dict,
        description="Rollouts by outcome; `unchecked`: no answer to check; `continued`: DropNTP continuations; "
        "`blind`: answers without the image; `step`: completions of first steps.",
    )
    images: int = Field(default=0, description="Images stored; in a shard's own counts each one once.")
    generated_tokens: int = Field(
        default=0, description="Tokens generated; of continuations what was continued, not what was kept."
    )
    beside_tokens: dict[str, int] = Field(
        default_factory=dict,
        description="Of those, tokens of rollouts beside the questions' own: `blind`, `step`, `claim`, `claims`; and "
        "of responses that voted: `vote`. Absent where none are.",
    )

    @model_serializer(mode="wrap")
    def _without_empty(self, whole: SerializerFunctionWrapHandler) -> dict[str, object]:
        """As before there were such rollouts, where there are none."""
        data: dict[str, object] = whole(self)
        if not self.beside_tokens:
            data.pop("beside_tokens", None)
        return data

    def plain(self) -> CountsFields:
        """The counts as they stand in summary.json."""
        return cast(CountsFields, self.model_dump())

    def adds_up(self) -> bool:
        """Whether no question is lost."""
        return self.questions == self.paired + sum(self.unpaired.values()) + sum(self.rejected.values())


class CountsFields(TypedDict):
    """`Counts` as plain data."""

    questions: int
    paired: int
    unpaired: dict[str, int]
    rejected: dict[str, int]
    pairs: dict[str, int]
    rollouts: dict[str, int]
    images: int
    generated_tokens: int
    beside_tokens: NotRequired[dict[str, int]]


def checked_rollouts(rollouts: Mapping[str, int]) -> int:
    """How many of counted rollouts the checker has judged: all but those of questions without an answer."""
    return sum(rollouts.get(outcome, 0) for outcome in get_args(Outcome))


class FileEntry(Record):
    """One data file of a shard."""

    path: str = Field(description="Key within the dataset.")
    sha256: str = Field(description="sha256 of the file, hex.")
    bytes: int = Field(description="Size of the file.")
    rows: int = Field(description="Rows of the table.")


class Manifest(Record):
    """What a finished shard holds."""

    schema_version: str = Field(default=SCHEMA_VERSION, description="Version of records, files and this manifest.")
    shard: int = Field(description="Number of the shard, from 0.")
    of: int = Field(description="Number of shards of the dataset.")
    identity: str = Field(description="Digest of the settings that decide what is in the shards.")
    counts: Counts = Field(description="Counts over the whole shard.")
    sources: dict[str, Counts] = Field(description="The same for each source.")
    files: tuple[FileEntry, ...] = Field(description="Data files of the shard.")
    rehearsal: bool = Field(
        default=False, description="Whether the embedded toy model stood in; written only where it did."
    )

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of each data file, by its key."""
        return {entry.path: entry.sha256 for entry in self.files}

    def encode(self) -> bytes:
        """The manifest as written: the same bytes for the same content."""
        return json_bytes(self.model_dump(exclude=set() if self.rehearsal else {"rehearsal"}))


def read_manifest(raw: bytes, name: str) -> Manifest:
    """A manifest from its file. Raises DatasetError where it is not one."""
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DatasetError(
            f"{name} is not a manifest of this version: {where}: {first['msg']}",
            remedy="Bring it back from a copy; or delete it and run the same `mmpr build` again: its shard is rebuilt.",
        ) from None


class RunningCounts:
    """Counts being counted, one outcome after the other."""

    def __init__(self) -> None:
        self._ints: Counter[str] = Counter()
        names = ("unpaired", "rejected", "pairs", "rollouts", "beside_tokens")
        self._groups: dict[str, Counter[str]] = {name: Counter() for name in names}

    def add(self, outcome: QuestionOutcome, images: int) -> None:
        """Count one question, of whose images `images` were not counted before."""
        row = outcome.row
        self._ints.update(questions=1, images=images, generated_tokens=row.generated_tokens)
        if row.status == "paired":
            self._ints["paired"] += 1
        else:
            self._groups[row.status][row.reason or "unknown"] += 1
        self._groups["pairs"].update(pair.strategy for pair in outcome.pairs)
        for rollout in outcome.rollouts:
            self._groups["rollouts"][counted(rollout.outcome, rollout.parent, rollout.prompt_version)] += 1
            if name := counted_as(rollout.prompt_version):
                self._groups["beside_tokens"][name] += rollout.tokens
        if row.reason in UNDECIDED_VOTES or any(pair.strategy == "vote" for pair in outcome.pairs):
            voted = sum(rollout.tokens for rollout in outcome.rollouts if rollout.parent is None)
            self._groups["beside_tokens"]["vote"] += voted

    def add_counts(self, part: Counts) -> None:
        """Count what was counted elsewhere."""
        self._ints.update(
            questions=part.questions, paired=part.paired, images=part.images, generated_tokens=part.generated_tokens
        )
        for name, group in self._groups.items():
            group.update(getattr(part, name))

    def counts(self) -> Counts:
        """What was counted so far."""
        groups = {name: dict(sorted(group.items())) for name, group in self._groups.items()}
        return Counts.model_validate({**self._ints, **groups})


def counted(outcome: str | None, parent: int | None, label: str) -> str:
    """The name under which a rollout is counted."""
    return counted_as(label) or outcome or ("unchecked" if parent is None else "continued")


def merge_counts(parts: Iterable[Counts]) -> Counts:
    """The sum of counts."""
    total = RunningCounts()
    for part in parts:
        total.add_counts(part)
    return total.counts()
