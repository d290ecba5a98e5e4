"""Random pairs of a dataset made ready to be shown: images as small data URIs, responses cut into what differs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmpr_pipeline.core.schemas import PairFields
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.dataset.review.show import PickedPair, pick_pairs
from mmpr_pipeline.report.differences import TextSpan, compare_texts
from mmpr_pipeline.report.images import MEDIA_TYPES, data_uri
from mmpr_pipeline.storage.store import open_store


@dataclass(frozen=True)
class PairSide:
    """One response of a pair."""

    pieces: list[TextSpan]
    answer: str | None
    rule: str
    tokens: int
    model: str
    index: int
    seed: int


@dataclass(frozen=True)
class Shown:
    """A pair as the gallery shows it; `images` are data URIs with width and height in pixels."""

    pair: PickedPair
    images: list[tuple[str, int, int]]
    chosen: PairSide
    rejected: PairSide


def gallery(out: str | Path, number: int, seed: int) -> list[Shown]:
    """`number` pairs chosen evenly by `seed`. Raises DatasetError where no shard is finished."""
    store = open_store(out)
    shards = shards_of(store)
    pairs = pick_pairs(out, number, seed)
    files = {pair["shard"]: ShardFiles(store, pair["shard"], shards) for pair in pairs}
    shown = []
    for pair in pairs:
        shard = files[pair["shard"]]
        stored = ((shard.image(name), shard.size(name)) for name in pair["images"])
        images = [(data_uri(*image), *size) for image, size in stored if image and size and image[0] in MEDIA_TYPES]
        shown.append(Shown(pair, images, *sides(pair)))
    return shown


def sides(pair: PairFields) -> tuple[PairSide, PairSide]:
    """Chosen and rejected of a row of the pairs file."""
    answers = pair["chosen_answer"], pair["rejected_answer"]
    one, other = compare_texts(pair["chosen"], pair["rejected"], answers, pair["shared_chars"])
    return (
        PairSide(one, answers[0], pair["chosen_rule"], pair["chosen_tokens"], pair["model"], pair["chosen_index"],
             pair["seed"]),
        PairSide(other, answers[1], pair["rejected_rule"], pair["rejected_tokens"], pair["rejected_model"],
             pair["rejected_index"], pair["rejected_seed"]),
    )  # fmt: skip
