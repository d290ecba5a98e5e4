"""Checks a dataset against everything that its files promise, shard by shard.

Each problem has a short fixed name (`bad_hash`, `missing_image`, ...) and says where. Memory holds one shard's ids, and
eight bytes a pair to find ids that two shards share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import json_bytes, sha256_of
from mmpr_pipeline.core.records import SCHEMA_VERSION
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, schema_of
from mmpr_pipeline.dataset.files.layout import FileEntry, Manifest, read_manifest
from mmpr_pipeline.dataset.files.marks import read_all
from mmpr_pipeline.dataset.files.sealed import damaged, read_sealed
from mmpr_pipeline.dataset.files.summary import no_dataset, summarise
from mmpr_pipeline.dataset.review.verify_rows import check_rows
from mmpr_pipeline.screening import REPORT
from mmpr_pipeline.storage import MissingKeyError, Store, open_store

Progress = Callable[[int, int], None]
"""Called with the number of shards checked and of all shards."""

REMEDIES = {
    "unfinished": "Where the output is unfinished, run the same `mmpr build` again: it goes on.",
    "left_over": "What a killed worker left is removed by the same `mmpr build`.",
    "extra_file": "Move files that no build wrote out of the output.",
    "bad_marks": f"Correct or remove that line of {layout.MARKS}; its `check` too, where a person wrote it.",
    "bad_summary": f"Delete a damaged {layout.SUMMARY} and run the same `mmpr build` again: it writes it anew.",
}
DAMAGED = (
    "Bring damaged files back from a copy. Without one, delete the manifest of their shard and run the same "
    "`mmpr build` again: it makes the shard anew."
)
"""The remedy of every other problem."""


@dataclass(frozen=True)
class Problem:
    """One thing that is not as promised."""

    name: str
    where: str
    detail: str = ""


@dataclass
class Report:
    """What was checked, and what is wrong."""

    out: str
    shards: int = 0
    finished: int = 0
    """Shards that have a manifest."""
    running: bool = False
    """Whether a build is at work on it."""
    files: int = 0
    bytes: int = 0
    pairs: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as promised."""
        return not self.problems

    @property
    def remedies(self) -> list[str]:
        """What to do about the problems, a sentence for each sort of them."""
        found = {problem.name for problem in self.problems} - ({"unfinished", "left_over"} if self.running else set())
        again = [REMEDIES[name] for name in sorted(found & REMEDIES.keys())]
        return [*again, *([DAMAGED] if found - REMEDIES.keys() else [])]

    def add(self, name: str, where: str, detail: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(name, where, detail))


def verify(out: str | Path, progress: Progress | None = None) -> Report:
    """Check every file of the dataset at `out`: nothing is changed.

    Raises DatasetError where nothing there looks like a dataset, StoreError where it cannot be read.
    """
    store = open_store(out)
    keys = set(store.list())
    # Number of shards, as the greatest number of manifests agree, and the manifests' keys.
    found: dict[int, set[str]] = {}
    for key in keys:
        if key.startswith("manifests/") and key.endswith(".json"):
            number = key[:-5].rpartition("-of-")[2]
            if number.isdecimal():
                found.setdefault(int(number), set()).add(key)
    num_shards, manifests = max(found.items(), key=lambda item: len(item[1]), default=(0, set()))
    if not num_shards:
        raise no_dataset(store)
    report = Report(store.url, num_shards, finished=len(manifests), running=store.is_held())
    left = store.left_over()
    _check_names(keys, manifests, num_shards, report)
    for name in sorted(left):
        report.add("left_over", name, "a worker that was killed left it, or one is at work")
    ids = _PairIds()
    identity: str | None = None
    for shard in range(num_shards):
        key = layout.shard_key("manifest", shard, num_shards)
        if key in manifests and (manifest := _manifest(store, key, shard, num_shards, report)) is not None:
            if manifest.identity != (identity := identity or manifest.identity):
                report.add("other_identity", key, "built with other settings than the shards before")
            _check_shard(store, manifest, report, ids)
        if progress:
            progress(shard + 1, num_shards)
    try:
        read_all(store)
    except DatasetError as error:
        report.add("bad_marks", layout.MARKS, error.message)
    check_described(store, keys, num_shards, identity, report.add)
    _check_shared_ids(store, num_shards, ids, report)
    return report


def _check_names(keys: set[str], manifests: set[str], num_shards: int, report: Report) -> None:
    """Every file that must be there is, and no other; of shards that are not finished nothing must be there."""
    expected = layout.expected(num_shards)
    unmade = {
        layout.shard_key(kind, shard, num_shards)
        for shard in range(num_shards)
        for kind in layout.SCHEMAS
        if layout.shard_key("manifest", shard, num_shards) not in manifests
    }
    for key in sorted(expected - keys):
        if key == layout.SUMMARY or key.startswith("manifests/"):
            report.add("unfinished", key, "not there: run the same `mmpr build` again, it goes on")
        elif key not in unmade:
            report.add("missing_file", key)
    known = {layout.MARKS, *layout.SCREENED}
    for key in sorted(keys - expected - known):
        if key.startswith(layout.JOURNALS):
            report.add("unfinished", key, "a journal is left: run the same `mmpr build` again, it goes on")
        elif key.startswith(layout.SCREENING) and layout.SUMMARY not in keys:
            continue  # pieces, while the rows are looked at
        elif not key.startswith((layout.REFERENCE, layout.LOGS)):
            report.add("extra_file", key, "no build wrote it here")


def _manifest(store: Store, key: str, shard: int, num_shards: int, report: Report) -> Manifest | None:
    try:
        manifest = read_manifest(store.read(key), key)
    except DatasetError as error:
        report.add("bad_manifest", key, error.message)
        return None
    if (manifest.shard, manifest.of) != (shard, num_shards) or manifest.schema_version != SCHEMA_VERSION:
        report.add("bad_manifest", key, f"states shard {manifest.shard} of {manifest.of}, {manifest.schema_version}")
        return None
    named = [entry.path for entry in manifest.files]
    if sorted(named) != sorted(layout.shard_key(kind, shard, num_shards) for kind in layout.SCHEMAS):
        report.add("bad_manifest", key, "names other files than those of its shard")
        return None
    if not all(counts.adds_up() for counts in (manifest.counts, *manifest.sources.values())):
        report.add("lost_questions", key, "questions are not paired + unpaired + rejected")
    return manifest


def _check_shard(store: Store, manifest: Manifest, report: Report, ids: _PairIds) -> None:
    where = f"shard {manifest.shard}"
    with TemporaryDirectory(prefix="mmpr-") as folder:
        found = {e.path.partition("/")[0]: _check_file(store, e, Path(folder), report) for e in manifest.files}
        paths = {kind: path for kind, path in found.items() if path is not None}
        if len(paths) < len(layout.SCHEMAS):
            return  # what refers to a missing or unreadable file cannot be checked, and is reported as that file
        try:
            ids.add(manifest.shard, check_rows(paths, manifest, lambda name, detail: report.add(name, where, detail)))
        except DatasetError as error:
            report.add("unreadable", where, error.message)
    report.pairs += sum(manifest.counts.pairs.values())


def _check_file(store: Store, entry: FileEntry, folder: Path, report: Report) -> Path | None:
    """The local file if it is the one that was written, and its rows can be looked at."""
    kind = entry.path.partition("/")[0]
    try:
        path = store.fetch(entry.path, folder)
    except MissingKeyError:
        return None  # reported by name already
    report.files += 1
    report.bytes += path.stat().st_size
    if path.stat().st_size != entry.bytes or sha256_of(path) != entry.sha256:
        report.add("bad_hash", entry.path, "the content is not what the manifest says")
        return None  # damaged Arrow files were seen to end the whole process when they are parsed
    try:
        schema = schema_of(path)
        rows = sum(batch.num_rows for batch in record_batches(path, schema.names[:1]))
    except DatasetError as error:
        report.add("unreadable", entry.path, error.message)
        return None
    if not schema.equals(layout.SCHEMAS[kind]):  # descriptions are documentation, and may be written better
        report.add("bad_schema", entry.path, "names, types or nullability of columns differ from this version's")
        return None
    if rows != entry.rows:
        report.add("bad_counts", entry.path, f"{rows} rows, the manifest says {entry.rows}")
    return path


class _PairIds:
    """The first 64 bits of every pair's id, by shard: enough to find candidates of ids that two shards share."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self.shards: list[int] = []
        """Those whose ids are known: their files are sound."""

    def add(self, shard: int, pair_ids: set[str]) -> None:
        """Note the ids of a shard, distinct within it."""
        self.shards.append(shard)
        numbers = (int(pair_id[:16], 16) for pair_id in pair_ids if _is_hex(pair_id))
        self._parts.append(np.fromiter(numbers, np.uint64))

    def shared(self) -> set[int]:
        """Prefixes that occur in more than one shard."""
        if not self._parts:
            return set()
        values, counts = np.unique(np.concatenate(self._parts), return_counts=True)
        return set(values[counts > 1].tolist())


def _is_hex(text: str) -> bool:
    return len(text) == 32 and all(c in "0123456789abcdef" for c in text)


def _check_shared_ids(store: Store, num_shards: int, ids: _PairIds, report: Report) -> None:
    """Name the pairs of which two shards hold the same, by a second look at the ids of the candidates."""
    candidates = ids.shared()
    if not candidates:
        return
    first: dict[str, int] = {}
    for shard in ids.shards:
        for pair_id in set(_pair_ids(store, layout.shard_key("pairs", shard, num_shards))):
            if _is_hex(pair_id) and int(pair_id[:16], 16) in candidates and first.setdefault(pair_id, shard) != shard:
                report.add("duplicate_pair", f"shard {shard}", f"pair {pair_id} is in shard {first[pair_id]} too")


def _pair_ids(store: Store, key: str) -> Iterator[str]:
    try:
        with TemporaryDirectory(prefix="mmpr-") as folder:
            for batch in record_batches(store.fetch(key, Path(folder)), ["pair_id"]):
                yield from batch.column(0).to_pylist()
    except (MissingKeyError, DatasetError):
        return  # reported already


Add = Callable[[str, str, str], None]
"""Takes the name of a problem, where it is and what was seen."""

_NAMES = {layout.CONFIG: "bad_config", layout.SUMMARY: "bad_summary", REPORT: "bad_screening"}


def check_described(store: Store, keys: set[str], num_shards: int, identity: str | None, add: Add) -> None:
    """Check them against each other, against the manifests' `identity`, and against their own checksums."""
    sound: dict[str, dict[str, object]] = {}
    for key in _NAMES:
        if key in keys:
            try:
                sound[key] = read_sealed(store, key)
            except DatasetError as error:
                add(_NAMES[key], key, error.message)
    config, summary, report = (sound.get(key, {}) for key in (layout.CONFIG, layout.SUMMARY, REPORT))
    if config and identity is not None and config.get("digest") != identity:
        add("other_identity", layout.CONFIG, "the shards were built with other settings")
    if report and config and report.get("plan", config.get("digest")) != config.get("digest"):
        add("other_identity", REPORT, "the rows were screened for other settings")
    if layout.SUMMARY in sound:
        try:
            totals = json.loads(json_bytes(summarise(store, num_shards)))
        except DatasetError:
            totals = {}  # the manifests are reported already
        if wrong := [name for name, value in totals.items() if summary.get(name) != value]:
            add("bad_summary", layout.SUMMARY, f"differs from the manifests in {', '.join(wrong)}")
    for key in damaged(store, {**group_of(report, "hashes"), **group_of(summary, "hashes")}):
        if key in keys and (key in sound or key not in _NAMES):  # a broken seal is noted already
            add("bad_hash", key, "the content is not what was written")
        elif key not in keys and key not in layout.expected(num_shards):
            add("missing_file", key, "")
    if "hashes" in summary:
        for key in sorted(keys & set(layout.SCREENED) - group_of(summary, "hashes").keys()):
            add("extra_file", key, "no build wrote it here")
