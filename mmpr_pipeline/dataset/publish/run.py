"""`mmpr publish`: a finished dataset to the Hub, file after file, resumable at any point and checked by hash."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import ConfigError, DatasetError, HubError
from mmpr_pipeline.core.files import sha256_of
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.dataset.files.arrow_file import DAMAGED_REMEDY
from mmpr_pipeline.dataset.files.load import pair_features
from mmpr_pipeline.dataset.files.sealed import refuse_rehearsal
from mmpr_pipeline.dataset.files.summary import manifests_of, shards_of
from mmpr_pipeline.dataset.publish.card import dataset_card
from mmpr_pipeline.dataset.publish.hub import REPOSITORY, Changes, Content, HubDataset
from mmpr_pipeline.dataset.publish.parquet import shard_groups, write_parquet
from mmpr_pipeline.dataset.publish.parts import (
    CARD,
    NOTE,
    Note,
    ParquetPart,
    PublishedFile,
    is_ours,
    outdated,
    parts_of,
    read_note,
    sizes,
)
from mmpr_pipeline.dataset.review.facts import Facts, facts_of
from mmpr_pipeline.dataset.review.terminal import human_size as size_of
from mmpr_pipeline.storage import Store, open_store

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMIT_FILES = 64
COMMIT_BYTES = 20 << 30
"""A commit is made after this many files or bytes: what a killed run uploaded without a commit is found again too, but
the Hub drops it after a while."""


@dataclass(frozen=True)
class Publication:
    """What was, or in a dry run would be, published."""

    name: str
    url: str
    files: dict[str, int]
    """Bytes of each file; in a dry run an estimate."""
    rows: int
    warnings: tuple[str, ...]
    card: str
    uploaded: int = 0
    """Parquet files written and sent by this run; the others were there."""
    commits: int = 0
    commit: str | None = None
    """The commit that holds all of it; None in a dry run."""
    private: bool = True

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def publish(
    out: str | Path,
    name: str,
    *,
    private: bool = True,
    revision: str | None = None,
    dry_run: bool = False,
    files: int | None = None,
    allow_rehearsal: bool = False,
    progress: Progress | None = None,
) -> Publication:
    """Publish the finished dataset `out` as `name` (ORG/NAME), on a branch where `revision` names one.

    May be killed at any time: the same call goes on, uploads nothing twice and makes no commit twice; where all is
    there it makes none. `files` Parquet files instead of one for each shard. `private` decides about a new data set
    only. The token is HF_TOKEN or the Hub's own login.

    Raises ConfigError, DatasetError or StoreError before anything is sent, HubError where the Hub refuses.
    """
    report = progress or no_progress
    refuse_rehearsal(open_store(out), "publish it", allowed=allow_rehearsal or dry_run)
    if not REPOSITORY.fullmatch(name):
        raise ConfigError(f"{name!r} is not a name on the Hub.", remedy="Give --repo ORG/NAME.")
    store = open_store(out)
    parts = parts_of(list(manifests_of(store, shards_of(store))), files)
    there = set(store.list())
    if gone := sorted(key for part in parts for key in part.hashes if key not in there):
        raise DatasetError(f"{store.url}/{gone[0]} is gone.", remedy=DAMAGED_REMEDY)
    if not any(part.rows for part in parts):
        raise DatasetError(f"{store.url} holds no pairs.", remedy="`mmpr stats` says why.")
    facts = facts_of(out, lambda done, of: report("reading", done, of))
    url = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/datasets/{name}"
    plan = Publication(
        name=name,
        url=url,
        files={part.path: part.about_bytes for part in parts},
        rows=facts.pairs,
        warnings=tuple(facts.warnings),
        card=dataset_card(facts, name, url, sum(part.about_bytes for part in parts), 0),
        private=private,
    )
    if dry_run:
        return plan
    hub = HubDataset(name, revision, lambda seconds: report(f"waiting {seconds:.0f} s for the Hub", 0, len(parts)))
    hub.create(private)
    return _Publishing(store, parts, facts, hub, report).run(plan)


class _Publishing:
    """One run: what is there, what is missing, and the commits that bring it."""

    def __init__(self, store: Store, parts: list[ParquetPart], facts: Facts, hub: HubDataset, report: Progress) -> None:
        self._store, self._parts, self._facts, self._hub, self._report = store, parts, facts, hub, report
        self._features = pair_features()
        self._remote = hub.look()
        # The note of what was published there before. Raises HubError where something else lives there.
        if foreign := sorted(path for path in self._remote.files if not is_ours(path)):
            raise HubError(
                f"{self._hub.name} holds other files, such as {foreign[0]}.",
                remedy="Publish under another name; the existing files are left unchanged.",
            )
        self._before = read_note(self._hub.read(NOTE, self._remote.commit)) if NOTE in self._remote.files else None
        self._card = self._before.card if self._before else None
        # The files of this publication that are there already, as the note says and their hashes prove.
        noted = self._before.files if self._before else {}
        self._files = {
            part.path: noted[part.path]
            for part in self._parts
            if part.path in noted
            and noted[part.path].made_from == part.made_from
            and self._remote.holds(part.path, Content(noted[part.path].sha256))
        }
        self._uploaded = 0

    def run(self, plan: Publication) -> Publication:
        """Upload and commit what is missing, take away what is outdated, check all, and say what was done."""
        missing = [part for part in self._parts if part.path not in self._files]
        changes, taken = Changes(), 0
        for number, part in enumerate(missing):
            self._report("uploading", number, len(missing))
            self._add(changes, part)
            taken += self._files[part.path].bytes
            last = number == len(missing) - 1
            if not last and (len(changes.operations) >= COMMIT_FILES or taken >= COMMIT_BYTES):
                changes.add(NOTE, self._note().encode())
                self._commit(changes, f"Pairs, {len(self._files)} of {len(self._parts)} files")
                changes, taken = Changes(), 0
        self._report("uploading", len(missing), len(missing))
        total = sizes(self._files.values())
        card = dataset_card(self._facts, plan.name, self._hub.url, total["bytes"], total["decoded_bytes"])
        # The last commit, with card, note and removals, where it would change anything; what must be there then.
        edited = self._card is not None and not self._remote.holds(CARD, Content("", self._card))
        small = {} if edited and CARD in self._remote.files else {CARD: card.encode()}
        if small:
            self._card = Content.of(card.encode()).blob_id
        small[NOTE] = self._note().encode()
        for path, data in small.items():
            if not self._remote.holds(path, Content.of(data)):
                changes.add(path, data)
        for path in outdated(self._remote.files, self._parts):
            changes.delete(path)
        if changes.operations:
            self._commit(changes, f"{self._facts.pairs:,} preference pairs, by mmpr {self._facts.mmpr_version}")
        large = {path: Content(file.sha256) for path, file in self._files.items()}
        wanted = large | {path: Content.of(data) for path, data in small.items()}
        self._report("checking", 0, len(wanted))
        if wrong := self._hub.check(wanted, self._remote.commit):
            raise HubError(
                f"{self._hub.name}: {wrong[0]} is not on the Hub as it was sent ({len(wrong)} such files).",
                remedy="Run the same command again to send them again. Is someone else changing this data set?",
            )
        self._report("checking", len(wanted), len(wanted))
        return replace(
            plan,
            url=self._hub.url,
            card=card,
            files={path: self._files[path].bytes for path in sorted(self._files)},
            uploaded=self._uploaded,
            commits=self._hub.commits,
            commit=self._remote.commit,
        )

    def _add(self, changes: Changes, part: ParquetPart) -> None:
        """Write one Parquet file, bring it to the Hub's store, and forget it here."""
        with TemporaryDirectory(prefix="mmpr-") as folder:
            local = Path(folder) / "part.parquet"
            num_shards = len({shard for other in self._parts for shard in other.shards})
            of_shards = (
                shard_groups(self._store, shard, num_shards, self._features, part.hashes) for shard in part.shards
            )
            written = write_parquet(local, chain.from_iterable(of_shards), self._features.arrow_schema)
            sha256 = sha256_of(local)
            self._files[part.path] = PublishedFile(
                made_from=part.made_from,
                sha256=sha256,
                bytes=local.stat().st_size,
                decoded_bytes=written.decoded_bytes,
                rows=written.rows,
            )
            if not self._remote.holds(part.path, Content(sha256)):
                self._hub.upload(changes, part.path, local, sha256)
                self._uploaded += 1

    def _note(self) -> Note:
        known = {path: self._files[path] for path in sorted(self._files)}
        identity = str(self._facts.figures["identity"])
        return Note(mmpr=self._facts.mmpr_version, identity=identity, card=self._card, files=known)

    def _commit(self, changes: Changes, title: str) -> None:
        self._report("committing", len(self._files), len(self._parts))
        self._remote = self._hub.commit(changes, self._remote, title)


def publication_table(found: Publication) -> RenderableType:
    """The publication as a table for a terminal, warnings first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    about = "about " if found.commit is None else ""
    table = Table("file", "size", box=None, pad_edge=False, header_style="bold")
    table.columns[1].justify = "right"
    shown = list(found.files.items())
    for path, size in shown[:SHOWN]:
        table.add_row(path, f"{about}{size_of(size)}")
    if len(shown) > SHOWN:
        table.add_row(f"... {len(shown) - SHOWN} more", "")
    table.add_row(f"{found.rows:,} pairs, {len(shown)} files", f"{about}{size_of(found.bytes)}", style="bold")
    lines: list[Any] = [Text.assemble(("Warning  ", "bold yellow"), text) for text in found.warnings]
    at = f"{found.url} at {found.commit}"
    ending = f"{found.uploaded} files uploaded, {found.commits} commits, checked by hash: {at}"
    if found.commit is None:
        ending = f"Nothing was sent (dry run); it would go to {found.url}, {'private' if found.private else 'public'}."
    elif not found.commits:
        ending = f"Everything is already published: {at}"
    return Group(*lines, table, Text(ending))


SHOWN = 12
