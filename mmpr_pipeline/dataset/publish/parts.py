"""What a publication consists of: its Parquet files, of which shards each is made, and the note of them that lies
beside them on the Hub, by which a later run knows what is there without writing a file again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import Record, content_id
from mmpr_pipeline.dataset.files.layout import FileEntry, Manifest
from mmpr_pipeline.dataset.publish.parquet import WRITER

NOTE = "mmpr.json"
CARD = "README.md"


@dataclass(frozen=True)
class ParquetPart:
    """One Parquet file to be: its path, the shards it holds in order, the identity of what it is made from, and the
    sha256 of each file that it is made from."""

    path: str
    shards: tuple[int, ...]
    made_from: str
    hashes: dict[str, str]
    about_bytes: int
    rows: int


class PublishedFile(Record):
    """A Parquet file on the Hub."""

    made_from: str = Field(description="Identity of the shards it was made from, and of how it was written.")
    sha256: str = Field(description="sha256 of the file, hex.")
    bytes: int = Field(description="Size of the file.")
    decoded_bytes: int = Field(description="What its rows take in memory.")
    rows: int = Field(description="Pairs in it.")


class Note(Record):
    """The note `mmpr.json` of a publication."""

    mmpr: str = Field(description="Version of mmpr that built the dataset.")
    identity: str = Field(description="Digest of the settings that decide what is in the dataset.")
    card: str | None = Field(default=None, description="Git's blob id of the card as it was published.")
    files: dict[str, PublishedFile] = Field(default_factory=dict, description="Parquet files by path.")

    def encode(self) -> bytes:
        """The note as it is published: the same bytes for the same content."""
        return json_bytes(self.model_dump())


def read_note(raw: bytes) -> Note | None:
    """A note; None where it is not one of this version."""
    try:
        return Note.model_validate(json.loads(raw))
    except (ValueError, ValidationError):
        return None


def parts_of(manifests: Sequence[Manifest], files: int | None = None) -> list[ParquetPart]:
    """The Parquet files of a dataset: one for each shard, or `files` of them, each of neighbouring shards.

    Raises ConfigError where `files` is not between 1 and the number of shards.
    """
    shards, of = len(manifests), files or len(manifests)
    if not 1 <= of <= shards:
        raise ConfigError(
            f"{shards} shards cannot become {of} files.", remedy=f"Give a number from 1 to {shards}, or none."
        )
    parts = []
    for number in range(of):
        held = range(shards * number // of, shards * (number + 1) // of)
        entries: list[tuple[FileEntry, FileEntry]] = []  # pairs and images of each shard
        for shard in held:
            by_kind = {entry.path.partition("/")[0]: entry for entry in manifests[shard].files}
            entries.append((by_kind["pairs"], by_kind["images"]))
        parts.append(
            ParquetPart(
                path=f"data/train-{number:05d}-of-{of:05d}.parquet",
                shards=tuple(held),
                made_from=content_id(WRITER, [entry.sha256 for pair in entries for entry in pair]),
                hashes={entry.path: entry.sha256 for pair in entries for entry in pair},
                about_bytes=sum(entry.bytes for pair in entries for entry in pair),
                rows=sum(pairs.rows for pairs, _ in entries),
            )
        )
    return parts


def is_ours(path: str) -> bool:
    """Whether a path in a repository may be one that publishing writes, or that the Hub itself puts there."""
    return path in (NOTE, CARD, ".gitattributes") or (
        path.startswith("data/train-") and path.endswith(".parquet") and path.count("/") == 1
    )


def outdated(there: Iterable[str], parts: Iterable[ParquetPart]) -> list[str]:
    """Parquet files of an earlier publication that are no part of this one."""
    wanted = {part.path for part in parts}
    return sorted(path for path in there if is_ours(path) and path.startswith("data/") and path not in wanted)


def sizes(files: Iterable[PublishedFile]) -> dict[str, int]:
    """Totals: `rows`, `bytes`, `decoded_bytes`."""
    held = list(files)
    return {name: sum(getattr(file, name) for file in held) for name in ("rows", "bytes", "decoded_bytes")}
