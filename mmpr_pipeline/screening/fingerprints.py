"""The fingerprint of an evaluation set: one small file that stands for the set itself when rows are compared with it.

It holds the hashes of its images and of its questions' word triples (`SKETCHES`), no image and no text, and says which
set at which commit it was made of. Only sets of the Hub have one: a file on somebody's disk has no commit.

What was seen of such sets is also kept on this machine from one build to the next (`cached_sketches`), so that they are
hashed once: a piece is named by all that decides it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import ConfigError, DatasetError, SourceError, StoreError
from mmpr_pipeline.core.files import cache_folder
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.screening import SCREENING
from mmpr_pipeline.screening.chunks import SKETCHES, chunks_of, hash_sketches, read_chunk, write_chunk
from mmpr_pipeline.sources import Source, SourceIndex
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.storage import MissingKeyError, open_store


def cached_sketches(index: SourceIndex, start: int, stop: int, look: Callable[[], pa.Table]) -> pa.Table:
    """The sketches of these rows: as they were kept, or else from `look`, and kept.

    A damaged file is replaced; a cache that cannot be written is done without.
    """
    if index.revision is None:
        return look()
    key = f"{content_id(SCREENING, index.fingerprint, str(start), str(stop))}.arrow"
    store = open_store(cache_folder() / "sketches")
    with suppress(StoreError, DatasetError, OSError):
        kept = read_chunk(store, key)
        if kept.schema == SKETCHES:
            return kept
    table = look()
    with suppress(StoreError, OSError):
        write_chunk(store, key, table)
    return table


SUFFIX = ".fingerprint.arrow"
_ABOUT = b"mmpr.fingerprint"


@dataclass(frozen=True)
class Fingerprint:
    """What a file says of its set; `path` is where it lies."""

    path: Path
    name: str
    rows: int
    content: str
    """The fingerprint of the set's index, as builds know it."""
    revision: str
    declared: str
    """Hash of the declaration, without its revision."""
    rules: str

    def sketches(self, start: int, stop: int) -> pa.Table:
        """The table of SKETCHES of some rows."""
        table = read_chunk(open_store(self.path.parent), self.path.name)
        at = table["row"]
        chosen: pa.Table = table.filter(pc.and_(pc.greater_equal(at, start), pc.less(at, stop)))
        return chosen.replace_schema_metadata(None)


def fingerprint_folder() -> Path:
    """Where builds look for fingerprints."""
    return cache_folder() / "fingerprints"


def make_fingerprint(source: Source, folder: Path) -> Fingerprint:
    """Read an evaluation set and write its fingerprint. Raises SourceError, and ConfigError for a set of no commit."""
    declaration = source.declaration
    if not declaration.hub:
        raise ConfigError(
            f"{source.name} is not on the Hub: its fingerprint could not say what it was made of.",
            remedy="Name data sets of the Hub; other evaluation sets are read where they are.",
        )
    index = source.index()
    tables = []
    for piece in chunks_of("sketches", 0, source.name, index.rows):
        look = partial(hash_sketches, source, index, piece.start, piece.stop)
        tables.append(cached_sketches(index, piece.start, piece.stop, look))
    about = {
        "name": source.name, "rows": index.rows, "content": index.fingerprint, "revision": index.revision or "",
        "declared": _declared(declaration), "rules": SCREENING,
    }  # fmt: skip
    table = pa.concat_tables([SKETCHES.empty_table(), *tables]).combine_chunks()
    table = table.replace_schema_metadata({_ABOUT: json.dumps(about, sort_keys=True).encode()})
    folder.mkdir(parents=True, exist_ok=True)
    write_chunk(open_store(folder), f"{source.name}{SUFFIX}", table)
    return Fingerprint(folder / f"{source.name}{SUFFIX}", **about)  # type: ignore[arg-type]


def read_fingerprint(path: Path) -> Fingerprint:
    """What a file says. Raises DatasetError where it is damaged or no fingerprint."""
    table = read_chunk(open_store(path.parent), path.name)
    try:
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        found = Fingerprint(path, **about)
    except (KeyError, TypeError, ValueError):
        found = None
    if found is None or table.schema.remove_metadata() != SKETCHES:
        raise DatasetError(f"{path} is no fingerprint of an evaluation set.", remedy="Delete it, or make it again.")
    return found


def kept_fingerprint(declaration: SourceDeclaration) -> Fingerprint | None:
    """The fingerprint of a set on this machine, if there is a sound one of this declaration, commit and rules."""
    path = fingerprint_folder() / f"{declaration.name}{SUFFIX}"
    with suppress(StoreError, DatasetError, MissingKeyError, OSError):
        found = read_fingerprint(path)
        pinned = declaration.hub.revision if declaration.hub else None
        same = (found.name, found.declared, found.rules) == (declaration.name, _declared(declaration), SCREENING)
        return found if same and declaration.hub and pinned in (None, found.revision) else None
    return None


def publish_fingerprints(paths: list[Path], repository: str) -> None:
    """Put fingerprints into a data set repository of the Hub, which is made if it is not there."""
    from huggingface_hub import HfApi, constants

    from mmpr_pipeline.sources.files.hub import as_source_error

    with as_source_error(repository):
        if constants.HF_HUB_OFFLINE:
            raise SourceError("HF_HUB_OFFLINE is set.", remedy="Unset it to publish.")
        api = HfApi()
        api.create_repo(repository, repo_type="dataset", exist_ok=True)
        for path in paths:
            api.upload_file(
                path_or_fileobj=str(path), path_in_repo=path.name, repo_id=repository, repo_type="dataset",
                commit_message=f"Fingerprint of {path.name.removesuffix(SUFFIX)}",
            )  # fmt: skip


def fetch_fingerprints(repository: str) -> Iterator[Fingerprint]:
    """Fetch the fingerprints of a repository to where builds look for them. Raises SourceError, DatasetError."""
    from mmpr_pipeline.sources.declaration.parts import HubLocation
    from mmpr_pipeline.sources.files.hub import commit_of, repository_files

    location = HubLocation(id=repository)
    for file in repository_files(location, commit_of(location), (f"*{SUFFIX}",), whole=True):
        target = fingerprint_folder() / Path(file.name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open() as stream:
            open_store(target.parent).write(target.name, stream.read())
        yield read_fingerprint(target)


def _declared(declaration: SourceDeclaration) -> str:
    identity = declaration.identity()
    identity["hub"] = {**group_of(identity, "hub"), "revision": None}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
