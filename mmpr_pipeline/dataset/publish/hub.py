"""One data set on the Hub, as publishing needs it: what is there by hash, uploads, and commits that are never made
twice. Every request is repeated where that can help, and what cannot be helped is explained without any token."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mmpr_pipeline.core.errors import ConfigError, HubError
from mmpr_pipeline.core.masking import masked
from mmpr_pipeline.dataset.publish.hub_errors import MESSAGE_CHARS, error_text, hub_status, transient, wait_for

ATTEMPTS = 6
PATHS = 100
"""Paths asked for in one request."""

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REMEDIES = {
    400: "The Hub does not take what was sent; its message says why.",
    401: "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
    402: "The account's storage is full or unpaid: free some, or publish under another name.",
    403: "Use a token that may write to this data set (role `write`, or this repository chosen), and a name of yours.",
    404: "Check --repo and --revision, and that the token may see the data set.",
    412: "Someone else changes this data set at the same time: run the same command again when they are done.",
    429: "The Hub takes no more requests for now: run the same command again later, it goes on.",
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Remote:
    """A commit of the data set, and the hash of every file in it: sha256 of large files, git's blob id of others."""

    commit: str
    files: dict[str, str]

    def holds(self, path: str, content: Content) -> bool:
        """Whether the file is there with this content."""
        found = self.files.get(path)
        return found is not None and found in (content.sha256, content.blob_id)


@dataclass(frozen=True)
class Content:
    """Identity of a file's content; `blob_id`, git's name of it, only where the content is small and at hand."""

    sha256: str
    blob_id: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Content:
        """The identity of some bytes."""
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False)
        return cls(hashlib.sha256(data).hexdigest(), blob.hexdigest())


@dataclass
class Changes:
    """What one commit is to change."""

    added: dict[str, Content] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    operations: list[Any] = field(default_factory=list)

    def add(self, path: str, data: bytes) -> None:
        """Put a small file."""
        from huggingface_hub import CommitOperationAdd

        self.added[path] = Content.of(data)
        self.operations.append(CommitOperationAdd(path, data))

    def delete(self, path: str) -> None:
        """Take a file away."""
        from huggingface_hub import CommitOperationDelete

        self.deleted.append(path)
        self.operations.append(CommitOperationDelete(path))

    def made_in(self, remote: Remote) -> bool:
        """Whether the data set is already as these changes would make it."""
        there = all(remote.holds(path, content) for path, content in self.added.items())
        return there and not any(path in remote.files for path in self.deleted)


class HubDataset:
    """A data set on the Hub, at one branch. The token is the Hub's own: HF_TOKEN, or what `hf auth login` has kept."""

    def __init__(
        self, name: str, revision: str | None = None, waiting: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """`waiting` is told of each pause before another attempt. Raises ConfigError or HubError without a token."""
        from huggingface_hub import HfApi, get_token

        if not REPOSITORY.fullmatch(name):
            raise ConfigError(f"{name!r} is not a name on the Hub.", remedy="Give --repo ORG/NAME.")
        self._token = get_token()
        if not self._token:
            raise HubError("No Hub token was found.", remedy=_REMEDIES[401])
        self.name, self.branch = name, revision or "main"
        self._api = HfApi(os.environ.get("HF_ENDPOINT"), token=self._token)
        self._where: dict[str, object] = {"repo_id": name, "repo_type": "dataset"}
        self._waiting = waiting
        self.commits = 0
        """Commits made by this object."""

    @property
    def url(self) -> str:
        """Where people look at it."""
        tree = "" if self.branch == "main" else f"/tree/{self.branch}"
        return f"{self._api.endpoint}/datasets/{self.name}{tree}"

    def create(self, private: bool) -> None:
        """Create the data set and the branch where they are not there yet; what is there keeps its visibility."""
        self._tried("create", lambda: self._api.create_repo(**self._where, private=private, exist_ok=True))
        if self.branch != "main":
            self._tried("branch", lambda: self._api.create_branch(**self._where, branch=self.branch, exist_ok=True))

    def look(self) -> Remote:
        """The newest commit of the branch."""

        def listed() -> Remote:
            commit = self._api.repo_info(**self._where, revision=self.branch).sha
            entries = self._api.list_repo_tree(**self._where, revision=commit, recursive=True)
            return Remote(commit, {e.path: _hash(e) for e in entries if hasattr(e, "blob_id")})

        return self._tried("list", listed)

    def read(self, path: str, commit: str) -> bytes:
        """A small file of a commit."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = hf_hub_url(self.name, path, repo_type="dataset", revision=commit, endpoint=self._api.endpoint)

        def fetched() -> bytes:
            answer = get_session().get(url, headers=build_hf_headers(token=self._token), follow_redirects=True)
            hf_raise_for_status(answer)
            found: bytes = answer.content
            return found

        return self._tried("read", fetched)

    def upload(self, changes: Changes, path: str, local: Path, sha256: str) -> None:
        """Bring a large file to the Hub's store and note it among the changes; no commit is made.

        A file that the store holds already is not sent again. The local file may be removed after.
        """
        from huggingface_hub import CommitOperationAdd

        operation = CommitOperationAdd(path, str(local))
        operation.upload_info.sha256 = bytes.fromhex(sha256)  # known: the file is not read once more for it

        def sent() -> None:
            self._api.preupload_lfs_files(self.name, [operation], repo_type="dataset", revision=self.branch)

        with _no_bars():
            self._tried("upload", sent)
        if operation.path_or_fileobj != b"":  # sent files are let go of; this one would go into git itself
            raise HubError(
                f"{self.name} does not keep {path} as a large file.",
                remedy="Put the line `*.parquet filter=lfs diff=lfs merge=lfs -text` into its .gitattributes.",
            )
        changes.added[path] = Content(sha256)
        changes.operations.append(operation)

    def commit(self, changes: Changes, remote: Remote, title: str) -> Remote:
        """Make the changes, on top of `remote`, in one commit, and return what is there then.

        An answer that is lost does not lead to a second commit: before each repetition the branch is looked at, and
        the Hub refuses a commit whose parent is not the newest one.
        """
        for attempt in range(ATTEMPTS):
            try:
                self._api.create_commit(
                    **self._where,
                    operations=list(changes.operations),
                    commit_message=title,
                    revision=self.branch,
                    parent_commit=remote.commit,
                )
            except Exception as error:
                status = hub_status(error)
                again = transient(error) or status in (409, 412)
                if not again or attempt == ATTEMPTS - 1:
                    raise self._explained("commit", error) from None
                if status != 412:
                    self._pause(error, attempt)
            else:
                self.commits += 1
                return self.look()
            remote = self.look()
            if changes.made_in(remote):
                self.commits += 1
                return remote
        raise AssertionError  # the last attempt returns or raises

    def check(self, wanted: dict[str, Content], commit: str) -> list[str]:
        """Paths whose content in a commit, as the Hub hashed it, is not the wanted one."""
        wrong = []
        every = sorted(wanted)
        for start in range(0, len(every), PATHS):
            paths = every[start : start + PATHS]
            found = self._tried("verify", partial(self._infos, paths, commit))
            wrong += [path for path in paths if not Remote(commit, found).holds(path, wanted[path])]
        return wrong

    def _infos(self, paths: Sequence[str], commit: str) -> dict[str, str]:
        infos = self._api.get_paths_info(**self._where, paths=list(paths), revision=commit)
        return {info.path: _hash(info) for info in infos if hasattr(info, "blob_id")}

    def _tried(self, what: str, call: Callable[[], _T]) -> _T:
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except Exception as error:
                if not transient(error) or attempt == ATTEMPTS - 1:
                    raise self._explained(what, error) from None
                self._pause(error, attempt)
        raise AssertionError

    def _pause(self, error: Exception, attempt: int) -> None:
        seconds = wait_for(error, attempt)
        self._waiting(seconds)
        time.sleep(seconds)

    def _explained(self, what: str, error: Exception) -> HubError:
        status = hub_status(error)
        message = masked(error_text(error), self._token)[:MESSAGE_CHARS]
        text = f"{self.name}: {_DOING[what]} failed: {message}"
        remedy = _REMEDIES.get(status or 0, "Run the same command again: it goes on where it stopped.")
        if status is None:
            remedy = f"Check the network and HF_ENDPOINT. {remedy}"
        return HubError(text, remedy=remedy)


_DOING = {
    "create": "creating the data set",
    "branch": "creating the branch",
    "list": "looking at what is there",
    "read": "reading a file",
    "upload": "uploading a file",
    "commit": "committing",
    "verify": "checking what was uploaded",
}


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the Hub client's own progress bars: whoever publishes is told of the whole."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _hash(entry: Any) -> str:
    return str(entry.lfs.sha256 if entry.lfs else entry.blob_id)
