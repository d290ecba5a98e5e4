"""A dataset's shards as training reads them: the pairs of one question at a time, with their images.

Local or S3 alike (files of an object store are cached on disk). A shard's text is held in memory while its window is
open; images stay in the memory-mapped file. Beside the shards lie the column files of reference log-probs:
OUT/reference/<key>/reference-00017-of-00512.arrow holds one row for each pair of the shard, an Arrow file behind a
checksum, written whole when its shard is scored. The key says by what: a changed model, revision, chat template or tile
limit is another key, never a stale number.
"""

from __future__ import annotations

import json
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from mmpr_pipeline.core.errors import ConfigError, DatasetError, ItemRejected
from mmpr_pipeline.core.files import with_checksum, without_checksum
from mmpr_pipeline.core.records import Image, PreferencePair, content_id
from mmpr_pipeline.core.schemas import PAIR_SCHEMA
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import open_table, sha256_of, sound_file
from mmpr_pipeline.dataset.files.layout import REFERENCE
from mmpr_pipeline.dataset.files.lookup import ShardImages
from mmpr_pipeline.dataset.files.sealed import read_config
from mmpr_pipeline.dataset.files.summary import manifests_of, shards_of
from mmpr_pipeline.models.messages import MAX_TILES
from mmpr_pipeline.storage import MissingKeyError, Store
from mmpr_pipeline.training.data.order import Outline, Slice

CHARS_PER_TOKEN = 3
_COUNTS = ("prompt_tokens", "chosen_tokens", "rejected_tokens")
ImageTokens = Callable[[int, int, int], int]  # of an image's width, height, and the tiles that its source allows


class Shard:
    """One open shard. Groups are runs of pairs of the same prompt and images: those of a question lie side by side."""

    def __init__(self, store: Store, number: int, num_shards: int, hashes: Mapping[str, str]) -> None:
        """`hashes`: sha256 of the files that are to be checked, by key; raises DatasetError where one is another."""
        self.number = number
        keys = (layout.shard_key(kind, number, num_shards) for kind in ("pairs", "images", "questions"))
        pairs, images, asked_of = (
            sound_file(store, key, hashes[key]) if key in hashes else store.local_copy(key) for key in keys
        )
        self._pairs = open_table(pairs, PAIR_SCHEMA.names)
        self._images = ShardImages(images)
        questions = open_table(asked_of, ["question_id", "tiles"]).to_pydict()
        self.tiles = {n: int(tiles or 1) for n, tiles in zip(questions["question_id"], questions["tiles"], strict=True)}
        """Most tiles that a question's source allows, by question."""
        asked = (self._pairs.column(name).to_pylist() for name in ("prompt", "images"))
        # Where runs of equal values start, and the end.
        values = list(zip(*asked, strict=True))
        starts = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
        self._starts = [*starts, len(values)]
        self.sizes = [stop - start for start, stop in pairwise(self._starts)]
        """Pairs of each group."""

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
        responses = [
            (names.setdefault(text[side], len(names)), row[f"{side}_tokens"] or len(text[side]) // CHARS_PER_TOKEN)
            for row, text in zip(known, texts, strict=True)
            for side in ("chosen", "rejected")
        ]
        head = known[0]
        tiles = self.tiles.get(head["question_id"], 1)
        sizes = [self._images.size(name) for name in head["images"] if name in self._images]
        images = sum(image_tokens(width, height, tiles) for width, height in sizes)
        prompt = head["prompt_tokens"] or len(texts[0]["prompt"]) // CHARS_PER_TOKEN + images
        return Outline(prompt, tuple(zip(responses[::2], responses[1::2], strict=True)), images)

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


@dataclass(frozen=True)
class HeldOut:
    """Groups of each shard that are held out, how many pairs these are, and the same in order."""

    groups: Mapping[int, frozenset[int]]
    pairs: Mapping[int, int]
    slices: tuple[Slice, ...]


def hold_out(shards: Shards, share: float, most: int, seed: int) -> HeldOut:
    """Questions that are never trained on, to measure on: whole ones, with about `share` of all pairs, at most `most`,
    and at most half of a shard's; chosen by content, the same in every process and every resume.

    Every shard holds the same mixture, so they come from as few shards as needed, and only those are opened for it.
    Pairs of the same question text and images belong together, in whatever form it was asked. Empty where the share is
    less than a pair.
    """
    wanted = min(round(share * sum(shards.pairs)), most)
    groups: dict[int, frozenset[int]] = {}
    pairs: dict[int, int] = {}
    order = list(range(len(shards.pairs)))
    random.Random(f"held out/{seed}").shuffle(order)
    for shard in order:
        if wanted <= 0:
            break
        sizes, quota = shards[shard].sizes, min(wanted, shards.pairs[shard] // 2)
        taken, count = set[int](), 0
        # Groups of each question of a shard, in an order that only its content and the seed decide.
        found: dict[str, list[int]] = {}
        for group, (text, images) in enumerate(shards[shard].questions):
            found.setdefault(content_id(str(seed), text, *images), []).append(group)
        for question in [found[name] for name in sorted(found)]:
            size = sum(sizes[group] for group in question)
            if count + size <= quota:
                taken.update(question)
                count += size
        if taken:
            groups[shard], pairs[shard] = frozenset(taken), count
            wanted -= count
    held = [(shard, group) for shard in sorted(groups) for group in sorted(groups[shard])]
    slices = tuple(Slice(shard, group, 0, shards[shard].sizes[group]) for shard, group in held)
    return HeldOut(groups, pairs, slices)


WEIGHT_FILES = ("*.safetensors", "*.bin", "config.json")
_ENCODING_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "chat_template.json", "processor_config.json",
    "preprocessor_config.json",
)  # fmt: skip
_ENCODING = 2
"""Version of the rules by which text becomes tokens; references that were scored by others are scored again."""

SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), False, {"description": "The pair."}),
        pa.field("chosen", pa.float64(), True, {"description": "Sum of log π_ref over the chosen response's tokens."}),
        pa.field("rejected", pa.float64(), True, {"description": "The same for the rejected response."}),
        pa.field("chosen_tokens", pa.int32(), False, {"description": "Tokens of the chosen response as scored."}),
        pa.field("rejected_tokens", pa.int32(), False, {"description": "Tokens of the rejected response as scored."}),
        pa.field("reason", pa.string(), True, {"description": "Why the pair was not scored; null if it was."}),
    ]
)


@dataclass(frozen=True)
class ReferenceRow:
    """One pair: summed log-probs under the reference, or the reason why there are none."""

    pair_id: str
    chosen: float | None
    rejected: float | None
    chosen_tokens: int
    rejected_tokens: int
    reason: str | None = None


@dataclass(frozen=True)
class ReferenceKey:
    """By what log-probs were scored: everything that can change them.

    `weights` is a digest of weights and config in the model's folder (contents, not names of places or times),
    `encoding` a digest of what decides a pair's tokens and tiles (tokenizer, chat template, tile limits), `dtype` the
    computation's type.
    """

    model: str
    revision: str | None
    weights: str
    encoding: str
    dtype: str

    @classmethod
    def of(cls, model: str, revision: str | None, folder: Path, max_tiles: int, dtype: str) -> ReferenceKey:
        """The key of a model's folder. Reads every byte of the weights once, at the speed of the disk.

        Raises ConfigError where there are no weights.
        """
        files = sorted({path for pattern in WEIGHT_FILES for path in folder.glob(pattern)})
        if len(files) < 2:
            raise ConfigError(f"{folder} holds no model weights.", remedy="Give a folder as save_pretrained writes it.")
        weights = content_id([part for path in files for part in (path.name, sha256_of(path))])
        others = [folder / name for name in _ENCODING_FILES if (folder / name).is_file()]
        rules = f"encoding {_ENCODING}, tiles {max_tiles}"
        encoding = content_id(rules, *(part for path in others for part in (path.name, path.read_bytes())))
        return cls(model, revision, weights, encoding, dtype)

    def file(self, shard: int, num_shards: int) -> str:
        """Store key of a shard's column file."""
        parts = [self.weights, self.encoding, self.dtype]
        return f"{REFERENCE}{content_id(parts)[:16]}/reference-{shard:05d}-of-{num_shards:05d}.arrow"


def write_reference(store: Store, key: ReferenceKey, shard: int, num_shards: int, rows: Iterable[ReferenceRow]) -> None:
    """Write a shard's column file, whole and atomically."""
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for row in rows:
        for name, value in asdict(row).items():
            columns[name].append(value)
    schema = SCHEMA.with_metadata({"scored_by": json.dumps(asdict(key), sort_keys=True)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    name = key.file(shard, num_shards)
    store.write(name, with_checksum(name, sink.getvalue().to_pybytes()))


def read_reference(store: Store, key: ReferenceKey, shard: int, num_shards: int) -> dict[str, ReferenceRow] | None:
    """A shard's rows by pair id; None where it was not scored yet. Raises DatasetError where the file is damaged."""
    name = key.file(shard, num_shards)
    if not store.exists(name):
        return None
    try:
        table = pa.ipc.open_file(without_checksum(name, store.read(name))).read_all()
        rows = [ReferenceRow(**values) for values in table.select(SCHEMA.names).to_pylist()]
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise DatasetError(
            f"{store.url}/{name} is not a readable reference column: {error}",
            remedy="Delete the file; it is computed again.",
        ) from None
    return {row.pair_id: row for row in rows}
