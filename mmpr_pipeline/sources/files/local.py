"""The local files of a source: which ones its globs match, and what identifies them."""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmpr_pipeline.core.errors import SourceError

_SAMPLED = 64 * 1024
_POINTER, _POINTER_BYTES = b"version https://git-lfs.github.com/spec/", 1024
"""How a pointer of Git LFS begins, which a clone without LFS has in a file's place, and how large it is at most."""


@dataclass(frozen=True)
class LocalFile:
    """A file of rows on this machine; `name` is its path below the source's root."""

    path: Path
    name: str
    size: int

    def open(self) -> BinaryIO:
        """See SourceFile."""
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise SourceError(
                f"Cannot read {self.path}: {error.strerror or error}.", remedy="Check that the file is still there."
            ) from None
        if self.size < _POINTER_BYTES and stream.read(len(_POINTER)) == _POINTER:
            stream.close()
            raise SourceError(
                f"{self.path} is a pointer of Git LFS and not the file itself.",
                remedy="Run `git lfs pull` in its folder, or `hf download --repo-type dataset ORG/NAME`.",
            )
        stream.seek(0)
        return stream

    def local(self) -> Path:
        """See SourceFile."""
        self.open().close()
        return self.path

    def digest(self) -> str:
        """sha256 of the file's first and last 64 KiB: enough to notice a rewrite without reading terabytes."""
        digest = hashlib.sha256()
        with self.open() as stream:
            digest.update(stream.read(_SAMPLED))
            stream.seek(max(self.size - _SAMPLED, 0))
            digest.update(stream.read(_SAMPLED))
        return digest.hexdigest()[:32]


def local_files(patterns: tuple[str, ...], root: Path, source: str) -> list[LocalFile]:
    """The files that the patterns match below `root`, by name. Raises SourceError where a pattern matches none."""
    found: dict[str, LocalFile] = {}
    for pattern in patterns:
        matches = [path for path in glob.glob(str(root / pattern), recursive=True) if os.path.isfile(path)]
        if not matches:
            raise SourceError(
                f"The source {source} has no file {pattern} in {root}.",
                remedy="Give --data-root DIR if its rows are elsewhere; relative paths start there, or else at the "
                "declaration's own folder.",
            )
        for match in matches:
            name = Path(os.path.relpath(match, root)).as_posix()
            found[name] = LocalFile(Path(match), name, os.path.getsize(match))
    return [found[name] for name in sorted(found)]
