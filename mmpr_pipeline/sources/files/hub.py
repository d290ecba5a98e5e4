"""Data sets on the Hub: which files hold a split, at which commit, and how their rows are reached.

`datasets` says which files a configuration and split are made of. Parquet files larger than `WHOLE_FILE_BYTES` are
read by ranges; smaller ones are fetched once into the Hub's cache on each machine, from where all shards slice them.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, cast

from mmpr_pipeline.core.errors import ItemRejected, SourceAwayError, SourceError
from mmpr_pipeline.sources.declaration.parts import HubLocation

WHOLE_FILE_BYTES = 512 * 1024 * 1024
_TIMEOUT = 10.0
_EXACT = re.compile(r"\.(parquet|pq|zip)([_.](part)?\w{2,4})?", re.IGNORECASE)
_READ_AHEAD = 1 << 20
_NETWORK = (
    "Check the network, or set HF_ENDPOINT to a mirror that can be reached. Without network: fetch the data set once "
    "where there is one (`hf download --repo-type dataset {id}`) and set HF_HUB_OFFLINE=1, or declare downloaded "
    "files with `files:` in a declaration of your own."
)


@dataclass(frozen=True)
class HubFile:
    """A file of rows in a data set repository, at one commit."""

    repository: str
    commit: str
    name: str
    size: int
    whole: bool = True

    def open(self) -> BinaryIO:
        """See SourceFile. From the cache where it is there, else whole or by ranges."""
        from huggingface_hub import HfFileSystem, try_to_load_from_cache

        cached = try_to_load_from_cache(self.repository, self.name, revision=self.commit, repo_type="dataset")
        if isinstance(cached, str):
            return open(cached, "rb")
        if self.whole and self.size <= WHOLE_FILE_BYTES:
            return self.local().open("rb")
        with as_source_error(self.repository):
            path = f"datasets/{self.repository}@{self.commit}/{self.name}"
            stream = HfFileSystem().open(path, "rb", cache_type="none")  # exact ranges
        if _EXACT.search(self.name, self.name.rfind("/") + 1):  # these ask for what they need; others read line by line
            return cast(BinaryIO, stream)
        return io.BufferedReader(cast(io.RawIOBase, stream), _READ_AHEAD)

    def local(self) -> Path:
        """See SourceFile."""
        from huggingface_hub import hf_hub_download

        with as_source_error(self.repository):
            return Path(hf_hub_download(self.repository, self.name, repo_type="dataset", revision=self.commit))


def commit_of(location: HubLocation) -> str:
    """The commit that a location means now. Raises SourceError."""
    from huggingface_hub import constants

    with as_source_error(location.id):
        return (_cached(location) if constants.HF_HUB_OFFLINE else _online(location))[0]


def hub_file(repository: str, commit: str, name: str) -> bytes:
    """The bytes of one file of a data set. Raises ItemRejected: missing_image; SourceError without a Hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    with as_source_error(repository):
        try:
            return Path(hf_hub_download(repository, name, repo_type="dataset", revision=commit)).read_bytes()
        except EntryNotFoundError:
            raise ItemRejected("missing_image", f"{repository} has no {name[:200]}") from None


_LOOKED_UP: dict[tuple[str, str], tuple[str, list[HubFile]] | SourceError] = {}
"""What `bytes_to_fetch` found, by the Hub's address and the location, until `resolve` is asked: once, not twice."""


def resolve(location: HubLocation, whole: bool = True) -> tuple[str, list[HubFile]]:
    """The commit and the files of a split, by name. Raises SourceError within seconds where the Hub is out of reach."""
    from huggingface_hub import constants

    known = _LOOKED_UP.pop((constants.ENDPOINT, location.model_dump_json()), None) if whole else None
    if isinstance(known, SourceError):
        raise known
    if known is not None:
        return known
    with as_source_error(location.id):
        commit, where = _cached(location) if constants.HF_HUB_OFFLINE else _online(location)
        if location.files:
            return commit, repository_files(location, commit, location.files, whole)
        # Paths in the repository of the split's files, as its card or its folders say.
        import datasets

        revision = None if where != location.id else commit
        try:
            builder = datasets.load_dataset_builder(where, name=location.config, revision=revision)
        except ValueError as error:
            raise SourceError(
                f"{location.id} has no configuration {location.config!r}: {error}", remedy="Correct `hub: config`."
            ) from None
        splits = dict(builder.config.data_files or {})
        if location.split not in splits:
            raise SourceError(
                f"{location.id} has no split {location.split!r}; it has {', '.join(map(str, splits)) or 'none'}.",
                remedy="Correct `hub: split` in the declaration.",
            )
        paths = [_inside(str(path), location, commit, where) for path in splits[location.split]]
        if where != location.id:
            sizes = {path: os.path.getsize(os.path.join(where, path)) for path in paths}
        else:
            from huggingface_hub import HfApi

            found: list[Any] = []
            for first in range(0, len(paths), 100):
                found += HfApi().get_paths_info(
                    location.id, paths[first : first + 100], repo_type="dataset", revision=commit
                )
            sizes = {entry.path: entry.size for entry in found}
    return commit, [HubFile(location.id, commit, path, sizes[path], whole) for path in sorted(paths)]


def bytes_to_fetch(location: HubLocation, archives: tuple[str, ...] = ()) -> int:
    """Bytes of a split's files, and of archives beside them, that are not in the Hub's cache. Raises SourceError."""
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE:
        return 0
    key = (constants.ENDPOINT, location.model_dump_json())
    _LOOKED_UP.pop(key, None)
    try:
        found = resolve(location)
    except SourceError as error:
        _LOOKED_UP[key] = error
        raise
    _LOOKED_UP[key] = found
    commit, files = found[0], list(found[1])
    files += repository_files(location, commit, archives, whole=True) if archives else []

    def is_here(file: HubFile) -> bool:
        return isinstance(try_to_load_from_cache(location.id, file.name, revision=commit, repo_type="dataset"), str)

    return sum(file.size for file in files if not is_here(file))


@dataclass(frozen=True)
class Told:
    """What the Hub tells of a data set: its files, configurations, the splits of the first one, and its licence."""

    files: tuple[str, ...]
    configs: tuple[str, ...]
    config: str | None
    splits: tuple[str, ...]
    licence: str | None


def told_of(id: str) -> Told:
    """What is known of a data set before any of it is read. Raises SourceError."""
    import datasets
    from huggingface_hub import HfApi

    with as_source_error(id):
        found = HfApi().dataset_info(id, timeout=_TIMEOUT)
        files = tuple(sibling.rfilename for sibling in found.siblings or ())
        configs = tuple(map(str, datasets.get_dataset_config_names(id, revision=found.sha)))
        config = "default" if "default" in configs else next(iter(configs), None)
        builder = datasets.load_dataset_builder(id, name=config, revision=found.sha)
        splits = tuple(map(str, dict(builder.config.data_files or {})))
    value = found.card_data.get("license") if found.card_data else None
    return Told(
        files,
        configs,
        config if len(configs) > 1 else None,
        splits,
        (", ".join(map(str, value)) if isinstance(value, list) else value and str(value)),
    )


def repository_files(location: HubLocation, commit: str, wanted: tuple[str, ...], whole: bool) -> list[HubFile]:
    """The files of a repository that paths or globs name. Raises SourceError where one names none."""
    from huggingface_hub import constants

    with as_source_error(location.id):
        if constants.HF_HUB_OFFLINE:
            folder = Path(_cached(location)[1])
            files = (path for path in folder.rglob("*") if path.is_file())
            sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
        else:
            from huggingface_hub import HfApi

            entries = HfApi().list_repo_tree(location.id, repo_type="dataset", revision=commit, recursive=True)
            sizes = {entry.path: entry.size for entry in entries if hasattr(entry, "size")}
    found: dict[str, int] = {}
    for pattern in wanted:
        matches = {path: size for path, size in sizes.items() if fnmatchcase(path, pattern)}
        if not matches:
            raise SourceError(
                f"{location.id} has no file {pattern}; it has {', '.join(sorted(sizes)[:8])}.",
                remedy="Correct the paths in the declaration.",
            )
        found |= matches
    return [HubFile(location.id, commit, path, found[path], whole) for path in sorted(found)]


def _online(location: HubLocation) -> tuple[str, str]:
    from huggingface_hub import HfApi

    found = HfApi().dataset_info(location.id, revision=location.revision, timeout=_TIMEOUT)
    return str(found.sha), location.id


def _cached(location: HubLocation) -> tuple[str, str]:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(location.id, repo_type="dataset", revision=location.revision, local_files_only=True)
    return Path(folder).name, folder


def _inside(path: str, location: HubLocation, commit: str, where: str) -> str:
    remote = f"hf://datasets/{location.id}@{commit}/"
    if path.startswith(remote):
        return path.removeprefix(remote)
    if where != location.id:
        return Path(os.path.relpath(path, where)).as_posix()
    raise SourceError(f"{location.id} points outside itself: {path}", remedy="Declare that data set itself.")


_NO_ANSWER = re.compile("Connect|Timeout|Proxy|SSL|Network|Offline")
"""In the name of an error: the Hub gave no answer."""


@contextmanager
def as_source_error(repository: str) -> Iterator[None]:
    """What the Hub's libraries raise, as a SourceError that says what to do."""
    from huggingface_hub import errors

    remedy = _NETWORK.format(id=repository)
    try:
        yield
    except (SourceError, ItemRejected):
        raise
    except errors.GatedRepoError:
        raise SourceError(
            f"{repository} is gated.",
            remedy="Accept its terms on the Hub, then log in (`hf auth login`).",
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise SourceError(
            f"The Hub has no data set {repository} at this revision: {_brief(error)}",
            remedy="Correct `hub: id` or `revision`; log in (`hf auth login`) if it is private.",
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise SourceAwayError(f"{repository} is not in the Hub's cache on this machine.", remedy=remedy) from None
    except Exception as error:  # the HTTP library beneath changes from version to version, and with it what it raises
        if _NO_ANSWER.search(type(error).__name__):
            why = re.sub(r"\[Errno -?\d+\] ", "", " ".join(str(error).split()))[:300] or type(error).__name__
            message = f"Cannot read {repository}: the Hub cannot be reached ({why})."
            raise SourceAwayError(message, remedy=remedy) from None
        raise SourceError(f"Cannot read {repository} on the Hub: {_brief(error)}", remedy=remedy) from None


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


@dataclass(frozen=True)
class HubImages:
    """Plain image files of a data set repository, at one commit; paths start at `root`."""

    repository: str
    commit: str
    root: str

    def read(self, path: str) -> bytes:
        """The bytes of an image file, which stays in the Hub's cache. Raises ItemRejected, SourceError."""
        name = posixpath.normpath(posixpath.join(self.root, path))
        if path.startswith("/") or name.startswith("../") or "\x00" in path or len(path) > 4096:
            raise ItemRejected("image_outside_root", path[:200])
        return hub_file(self.repository, self.commit, name)
