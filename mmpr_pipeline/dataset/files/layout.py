"""Names of the files of a dataset, and what each holds.

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

import pyarrow as pa

from mmpr_pipeline import screening
from mmpr_pipeline.core.logs import FOLDER
from mmpr_pipeline.core.schemas import IMAGE_SCHEMA, PAIR_SCHEMA, QUESTION_SCHEMA, ROLLOUT_SCHEMA

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


def data(kind: str, shard: int, num_shards: int) -> str:
    """Key of the Arrow file of one kind (`pairs`, `images`, `rollouts`, `questions`) of a shard."""
    return f"{kind}/{kind}-{_part(shard, num_shards)}.arrow"


def manifest(shard: int, num_shards: int) -> str:
    """Key of a shard's manifest."""
    return f"manifests/{_part(shard, num_shards)}.json"


def journal(shard: int, num_shards: int) -> str:
    """Prefix of a shard's journal."""
    return f"{JOURNALS}{_part(shard, num_shards)}"


def expected(num_shards: int) -> set[str]:
    """Every key of a finished dataset of `of` shards."""
    keys = {CONFIG, SUMMARY}
    for shard in range(num_shards):
        keys |= {manifest(shard, num_shards), *(data(kind, shard, num_shards) for kind in SCHEMAS)}
    return keys


def _part(shard: int, num_shards: int) -> str:
    return f"{shard:05d}-of-{num_shards:05d}"
