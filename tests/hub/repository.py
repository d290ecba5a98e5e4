"""What the test Hub keeps: data set repositories with branches, commits and files, as git blobs or in LFS."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


class Refused(Exception):
    """The request cannot be served; becomes an answer of this status."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Blob:
    """A file's content; with `lfs` it lies in the large file store, and git holds a pointer."""

    data: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        head = "version https://git-lfs.github.com/spec/v1\n"
        return f"{head}oid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @cached_property
    def oid(self) -> str:
        """Git's name of the blob."""
        held = self.pointer if self.lfs else self.data
        return hashlib.sha1(f"blob {len(held)}\0".encode() + held).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    files: dict[str, Blob]


@dataclass
class Repository:
    """One data set, or Space. `large` decides which paths go to LFS."""

    name: str
    private: bool = False
    kind: str = "dataset"
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """The large file store: sha256 -> content, also of files that no commit names yet."""

    def large(self, path: str) -> bool:
        return path.endswith((".parquet", ".arrow", ".tar")) or ".zip" in path

    def put(self, files: dict[str, bytes], title: str, branch: str = "main", sha: str | None = None) -> Commit:
        """A commit made behind the server's back."""
        found = dict(self.head(branch).files) if branch in self.branches else {}
        found |= {path: Blob(data, self.large(path)) for path, data in files.items()}
        return self._add(branch, found, title, sha)

    def head(self, revision: str = "main") -> Commit:
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, branch: str = "main") -> list[Commit]:
        """Commits of a branch, the newest first."""
        found, sha = [], self.branches.get(branch)
        while sha:
            found.append(self.commits[sha])
            sha = self.commits[sha].parent
        return found

    def branch(self, name: str, start: str | None) -> None:
        if name in self.branches:
            raise Refused(409, f"Reference already exists: {name}")
        self.branches[name] = self.head(start or "main").sha

    def commit(self, branch: str, body: bytes) -> Commit:
        """Apply an ndjson commit. Refuses a stale parent, unknown large files and what the protocol does not have."""
        if branch not in self.branches:
            raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        head, title = self.head(branch), ""
        files = dict(head.files)
        for item in map(json.loads, body.splitlines()):
            kind, value = item["key"], item["value"]
            if kind == "header":
                title, parent = value["summary"], value.get("parentCommit")
                if parent and parent != head.sha:
                    raise Refused(412, "A commit has happened since. Please refresh and try again.")
            elif kind == "file":
                if value.get("encoding") != "base64":
                    raise Refused(400, "only base64 is known here")
                files[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
            elif kind == "lfsFile":
                files[value["path"]] = self._large(value)
            elif kind == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                raise Refused(400, f"unknown operation {kind}")
        return self._add(branch, files, title)

    def _large(self, value: dict[str, Any]) -> Blob:
        data = self.stored.get(value["oid"])
        if value.get("algo") != "sha256" or data is None or len(data) != value["size"]:
            raise Refused(400, f"large file {value['oid']} was not uploaded")
        return Blob(data, lfs=True)

    def _add(self, branch: str, files: dict[str, Blob], title: str, sha: str | None = None) -> Commit:
        parent = self.branches.get(branch)
        content = json.dumps([parent, title, sorted((path, blob.oid) for path, blob in files.items())])
        sha = sha or hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, files)
        self.branches[branch] = sha
        self.stored |= {blob.sha256: blob.data for blob in files.values() if blob.lfs}
        return self.commits[sha]


def entry(path: str, blob: Blob) -> dict[str, Any]:
    """A file as the tree and paths-info tell of it."""
    told: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid}
    if blob.lfs:
        told["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    return told


def tree(files: dict[str, Blob], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """The entries below a folder; refuses a folder that is not there."""
    inside = [path for path in files if not folder or path.startswith(folder + "/")]
    if not inside and folder:
        raise Refused(404, f"{folder} does not exist", "EntryNotFound")
    start = len(folder) + 1 if folder else 0
    deep = {path[: path.index("/", start)] for path in inside if "/" in path[start:]}
    entries: list[dict[str, Any]] = [
        {"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(deep)
    ]
    return entries + [entry(path, files[path]) for path in inside if recursive or "/" not in path[start:]]
