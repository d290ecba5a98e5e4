"""A dataset's shards as training reads them: the pairs of one question at a time, with their images.

Local or S3 alike (files of an object store are cached on disk). A shard's text is held in memory while its window is
open; images stay in the memory-mapped file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

from mmpr_pipeline.core.errors import DatasetError, ItemRejected
from mmpr_pipeline.core.records import Image, PreferencePair
from mmpr_pipeline.core.schemas import PAIR_SCHEMA
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import open_table, sound_file
from mmpr_pipeline.dataset.files.lookup import ShardImages
from mmpr_pipeline.dataset.files.sealed import read_config
from mmpr_pipeline.dataset.files.summary import manifests_of, shards_of
from mmpr_pipeline.models.images import MAX_TILES
from mmpr_pipeline.storage import MissingKeyError, Store
from mmpr_pipeline.training.data.balance import Outline

CHARS_PER_TOKEN = 3
_COUNTS = ("prompt_tokens", "chosen_tokens", "rejected_tokens")
ImageTokens = Callable[[int, int, int], int]  # of an image's width, height, and the tiles that its source allows


class Shard:
    """One open shard. Groups are runs of pairs of the same prompt and images: those of a question lie side by side."""

    def __init__(self, store: Store, number: int, num_shards: int, hashes: Mapping[str, str]) -> None:
        """`hashes`: sha256 of the files that are to be checked, by key; raises DatasetError where one is another."""

        def path(kind: str) -> Path:
            key = layout.data(kind, number, num_shards)
            return sound_file(store, key, hashes[key]) if key in hashes else store.local_copy(key)

        self.number = number
        self._pairs = open_table(path("pairs"), PAIR_SCHEMA.names)
        self._images = ShardImages(path("images"))
        questions = open_table(path("questions"), ["question_id", "tiles"]).to_pydict()
        self._tiles = dict(zip(questions["question_id"], questions["tiles"], strict=True))
        asked = (self._pairs.column(name).to_pylist() for name in ("prompt", "images"))
        # Where runs of equal values start, and the end.
        values = list(zip(*asked, strict=True))
        starts = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
        self._starts = [*starts, len(values)]

    @property
    def sizes(self) -> list[int]:
        """Pairs of each group."""
        return [stop - start for start, stop in pairwise(self._starts)]

    @property
    def questions(self) -> list[tuple[str, tuple[str, ...]]]:
        """Text and images of each group's question."""
        rows = self._pairs.select(["question", "images"]).take(self._starts[:-1]).to_pylist()
        return [(row["question"], tuple(row["images"])) for row in rows]

    def pairs(self, group: int, first: int = 0, stop: int | None = None) -> list[PreferencePair]:
        """Pairs `first` to `stop` of a group."""
        start, end = self._starts[group], self._starts[group + 1]
        end = end if stop is None else start + stop
        rows = self._pairs.slice(start + first, end - start - first).to_pylist()
        return [PreferencePair.model_validate(row) for row in rows]

    def outline(self, group: int, first: int, stop: int, image_tokens: ImageTokens) -> Outline:
        """About how many tokens the pairs take; by characters and `image_tokens` where counts are unknown."""
        rows = self._pairs.slice(self._starts[group] + first, stop - first)
        known = rows.select([*_COUNTS, "question_id", "images"]).to_pylist()
        texts = rows.select(["chosen", "rejected", "prompt"]).to_pylist()
        names: dict[str, int] = {}

        def response(index: int, name: str) -> tuple[int, int]:
            text = texts[index][name]
            tokens = known[index][f"{name}_tokens"] or len(text) // CHARS_PER_TOKEN
            return names.setdefault(text, len(names)), tokens

        head = known[0]
        tiles = self.tiles(head["question_id"])
        sizes = [self._images.size(name) for name in head["images"] if name in self._images]
        images = sum(image_tokens(width, height, tiles) for width, height in sizes)
        prompt = head["prompt_tokens"] or len(texts[0]["prompt"]) // CHARS_PER_TOKEN + images
        pairs = tuple((response(i, "chosen"), response(i, "rejected")) for i in range(len(known)))
        return Outline(prompt, pairs, images)

    def tiles(self, question_id: str) -> int:
        """Most tiles that the question's source allows."""
        return int(self._tiles.get(question_id) or 1)

    def image(self, sha256: str) -> Image:
        """An image of the shard. Raises ItemRejected where it is not there: `missing_image`."""
        if sha256 not in self._images:
            raise ItemRejected("missing_image", sha256)
        return self._images[sha256]


class Shards:
    """All shards of a finished dataset; the `cached` last used ones are kept open.

    Raises DatasetError where the dataset is not finished, or holds no pair.
    """

    def __init__(self, store: Store, cached: int = 16) -> None:
        self.store = store
        self.of = shards_of(store)
        manifests = list(manifests_of(store, self.of))
        self.identity = manifests[0].identity
        self.pairs = tuple(
            next(entry.rows for entry in manifest.files if entry.path.startswith("pairs/")) for manifest in manifests
        )
        try:
            sources = read_config(store).get("sources", [])
        except (MissingKeyError, DatasetError):  # outputs that do not name tiles were sampled with `MAX_TILES` at most
            sources = []
        self.most_tiles: int = max([MAX_TILES, *(source.get("tiles", 0) for source in sources)])
        """Most tiles of an image that any source asks for, and no fewer than `MAX_TILES`."""
        self._unchecked = {manifest.shard: manifest.hashes for manifest in manifests}
        """Files are checked when they are first opened; that reads them at the speed of the disk."""
        self._cached = cached
        self._open: OrderedDict[int, Shard] = OrderedDict()
        self._lock = threading.Lock()
        if not sum(self.pairs):
            raise DatasetError(
                f"{store.url} holds no preference pair.", remedy="See `mmpr stats` for why its questions have none."
            )

    def __getitem__(self, number: int) -> Shard:
        with self._lock:
            if number not in self._open:
                self._open[number] = Shard(self.store, number, self.of, self._unchecked.pop(number, {}))
                while len(self._open) > self._cached:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            return self._open[number]
