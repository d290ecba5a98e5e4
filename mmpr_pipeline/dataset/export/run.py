"""`mmpr export`: writes a dataset into a new folder in one of several formats, see `registry`."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmpr_pipeline.core.errors import ConfigError, StoreError
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.dataset.export.built import Built
from mmpr_pipeline.dataset.export.registry import EXPORTS
from mmpr_pipeline.dataset.export.rl import rl_prompts
from mmpr_pipeline.dataset.files.summary import manifests_of, shards_of
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Exported:
    """What was written."""

    to: str
    dest: Path
    pairs: int
    left_out: dict[str, int]
    """Pairs that this format cannot hold, by reason."""
    files: int
    bytes: int
    how: str
    what: str = "pairs"
    """What is counted as `pairs`, in words."""


def export(
    out: str | Path,
    to: str,
    dest: str | Path,
    *,
    progress: Progress | None = None,
    solve_rate: str | None = None,
    layout: str | None = None,
) -> Exported:
    """Write the finished dataset `out` into the new folder `dest` in the format `to`, one of `registry.EXPORTS`.

    The folder appears when all of it is written; a killed run leaves nothing but a hidden folder beside it, which the
    next one removes. `solve_rate` (0.2:0.8) and `layout` belong to `rl`, prompts for online RL. The same dataset gives
    the same files. Raises ConfigError for an unknown format or a folder that
    holds something, DatasetError where the dataset is not finished.
    """
    if to != "rl" and (solve_rate or layout):
        raise ConfigError("--solve-rate and --format belong to --to rl.", remedy="Leave them out, or say --to rl.")
    chosen = rl_prompts(solve_rate, layout) if to == "rl" else EXPORTS.get(to)
    target = Path(dest).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} already exists.", remedy="Give --out a new folder.")
    store = open_store(out)
    manifests = list(manifests_of(store, shards_of(store)))
    hashes = {key: sha256 for manifest in manifests for key, sha256 in manifest.hashes.items()}
    built = Built(store, len(manifests), target.name, hashes)
    told = progress or no_progress
    told("exporting shards", 0, built.shards)
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        counts = chosen.write(built, partial, lambda done: told("exporting shards", done, built.shards))
        if not (partial / "README.md").exists():
            (partial / "README.md").write_text(chosen.usage(Path(target.name)), "utf-8")
        written = [path for path in partial.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in written)
        if target.exists():
            target.rmdir()
        os.rename(partial, target)
    except OSError as error:
        told_of = error.strerror or error
        raise StoreError(f"Cannot write {target}: {told_of}.", remedy="Free space, or choose another.") from None
    pairs = counts.pop("responses", 0) if to == "steps" else counts.pop("pairs", 0)
    steps = counts.pop("steps", 0)
    what = {"steps": f"responses with {steps:,} labelled steps", "rl": "prompts"}.get(to, "pairs")
    return Exported(to, target, pairs, dict(sorted(counts.items())), len(written), size, chosen.usage(target), what)


def export_table(found: Exported) -> RenderableType:
    """What was written, for a terminal."""
    from rich.console import Group
    from rich.markdown import Markdown

    kind = "questions" if found.to == "rl" else "pairs"
    text = f"{found.pairs:,} {found.what}, {found.files:,} files, {found.bytes / 1e6:,.1f} MB in {found.dest}"
    left = [f"{count:,} {kind} left out: {reason.replace('_', ' ')}" for reason, count in found.left_out.items()]
    return Group(text, *left, Markdown(found.how))
