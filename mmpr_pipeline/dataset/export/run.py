"""`mmpr export`: writes a dataset into a new folder, in a format of the package or of a distribution.

Distributions bring formats by entry points of the group `mmpr.export_formats`.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from mmpr_pipeline.core.errors import ConfigError, StoreError
from mmpr_pipeline.core.files import atomic_folder
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.dataset.export.built import Built
from mmpr_pipeline.dataset.files.summary import manifests_of, shards_of
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from rich.console import RenderableType


PAIR_FORMATS = ("trl", "internvl", "swift", "llamafactory", "nemo-rl", "openrlhf", "webdataset", "parquet")
FORMATS = (*PAIR_FORMATS, "steps", "rl")
"""Those of this package."""


class Format(Protocol):
    """What an export format has: a module, or any object.

    It may also have `UNITS`, the names under which `write` counts what it has written (of one without it: `pairs`), and
    `configured(**options)`, which gives the format with options of its own and raises ConfigError for wrong values.
    """

    def write(self, built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
        """Write the dataset into an empty folder, announcing the number of each finished shard; the counts are what
        was written, and what was left out, by reason."""

    def usage(self, dest: Path) -> str:
        """How the written folder is used, in Markdown."""


EXPORTS: Registry[Format] = Registry(
    "mmpr.export_formats",
    "export format",
    {
        name: f"mmpr_pipeline.dataset.export.{'rl' if name == 'rl' else 'formats.' + name.replace('-', '_')}"
        for name in FORMATS
    },
)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    to: str
    dest: Path
    written: dict[str, int]
    """How many of each unit: `pairs`, `prompts`, or `responses` and their `steps`."""
    left_out: dict[str, int]
    """What this format cannot hold, or was not asked for, by reason."""
    files: int
    bytes: int
    how: str

    @property
    def rows(self) -> int:
        """Rows written: the first unit."""
        return next(iter(self.written.values()))


def export(
    out: str | Path, to: str, dest: str | Path, *, progress: Progress | None = None, **options: str | None
) -> Exported:
    """Write the finished dataset `out` into the new folder `dest` in the format `to`, one of `registry.EXPORTS`.

    The folder appears when all of it is written; a killed run leaves nothing but a hidden folder beside it, which the
    next one removes. `options` are the format's own; `rl`, prompts for online RL, has `solve_rate` (0.2:0.8) and
    `layout`. The same dataset gives the same files. Raises ConfigError for an unknown format or option, or a folder
    that holds something, DatasetError where the dataset is not finished.
    """
    chosen = with_options(to, {name: value for name, value in options.items() if value is not None})
    target = Path(dest).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} already exists.", remedy="Give --out a new folder.")
    store = open_store(out)
    manifests = list(manifests_of(store, shards_of(store)))
    hashes = {key: sha256 for manifest in manifests for key, sha256 in manifest.hashes.items()}
    built = Built(store, len(manifests), target.name, hashes)
    show = progress or no_progress
    show("exporting shards", 0, built.shards)
    try:
        with atomic_folder(target, alone=True) as partial:
            counts = chosen.write(built, partial, lambda done: show("exporting shards", done, built.shards))
            if not (partial / "README.md").exists():
                (partial / "README.md").write_text(chosen.usage(Path(target.name)), "utf-8")
            files = [path for path in partial.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
    except OSError as error:
        raise StoreError(
            f"Cannot write {target}: {error.strerror or error}.", remedy="Free space, or choose another."
        ) from None
    written = {unit: counts.pop(unit, 0) for unit in getattr(chosen, "UNITS", ("pairs",))}
    return Exported(to, target, written, dict(sorted(counts.items())), len(files), size, chosen.usage(target))


def with_options(to: str, options: dict[str, str]) -> Format:
    """The format of that name with its options; raises ConfigError where it has none of that name."""
    plain = EXPORTS.get(to)
    if not options:
        return plain
    configured = getattr(plain, "configured", None)
    known = list(inspect.signature(configured).parameters) if configured else []
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigError(
            f"The export format {to} has no option {', '.join(unknown)}.",
            remedy=f"It takes {', '.join(known)}." if known else "Leave it out, or say --to rl.",
        )
    return cast(Format, configured(**options))  # type: ignore[misc]


def export_table(done: Exported) -> RenderableType:
    """What was written, for a terminal."""
    from rich.console import Group
    from rich.markdown import Markdown

    written = ", ".join(f"{count:,} {unit}" for unit, count in done.written.items())
    text = f"{written}, {done.files:,} files, {done.bytes / 1e6:,.1f} MB in {done.dest}"
    unit = next(iter(done.written))
    left = [f"{count:,} {unit} left out: {reason.replace('_', ' ')}" for reason, count in done.left_out.items()]
    return Group(text, *left, Markdown(done.how))
