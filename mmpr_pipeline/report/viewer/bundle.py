"""`mmpr view OUT --bundle DIR`: the viewer as a static folder, for a file server or a static Space of the Hub.

    index.html  static/             the page, as served
    data/overview.json              totals, and where the shards begin
    data/index.bin                  the index of the page (see `index`), with the places of each question's rows
    data/doubts.bin                 which verdicts are doubtful
    data/questions.parquet, rollouts.parquet, pairs.parquet     read by range: only what is shown is fetched
    images/ab/abcd….png             each image once
    README.md                       makes the folder a static Space

Nothing is run on a server: the page reads the Parquet files itself. Marks stay in the browser until they are saved.

`mmpr publish --with-viewer` makes it a static Space of the Hub, beside the data set.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmpr_pipeline.core.errors import ConfigError, DatasetError, HubError
from mmpr_pipeline.core.masking import masked
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.publish.hub_errors import MESSAGE_CHARS, error_text
from mmpr_pipeline.report.assets import MEDIA_TYPES, STATIC, environment, tile_grid
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.detail import pair_pieces, rollout_detail
from mmpr_pipeline.report.viewer.index import Column, encode, join

MOST_GROUPS = 2000
"""Row groups of a file at most: each costs the page some bytes of metadata before the first row."""
LEAST_GROUP = 64
FILES = {
    "questions": ("text", "answer", "source", "source_id", "image", "json"),
    "rollouts": ("text", "json"),
    "pairs": ("pair_id", "json", "texts"),
}
"""Columns of each file: what is searched and listed by itself, all else as JSON."""
_LEFT_OUT = ("source", "source_id", "prompt_tokens", "checker")
_SPACE = """---
title: {title}
emoji: 🔎
sdk: static
pinned: false
---
Questions, rollouts, verdicts and preference pairs of `{name}`, made by `mmpr view --bundle`.
"""


def write_bundle(out: str | Path, folder: str | Path, progress: Progress = no_progress) -> dict[str, int]:
    """Write the folder; returns `files` and `bytes`. Raises ConfigError where it is not empty, DatasetError where no
    shard of the dataset is finished."""
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"{target} is not empty.", remedy="Give a new --bundle DIR.")
    library = Library(out)
    shards = library.order
    if not shards:
        raise DatasetError(f"{library.store.url} has no finished shard yet.", remedy="Wait for the first one.")
    (target / "data").mkdir(parents=True)
    name = library.store.url.rstrip("/").rpartition("/")[2]
    shutil.copytree(STATIC, target / "static", ignore=shutil.ignore_patterns("report.*", "source.css", "__pycache__"))
    html = environment().get_template("viewer.html").render(name=name, token="", root="static/", bundle="data/")
    (target / "index.html").write_text(html, "utf-8")
    plain = "".join(char for char in name if char.isalnum() or char in "-_. ") or "dataset"
    (target / "README.md").write_text(_SPACE.format(title=plain[:60], name=plain), "utf-8")
    totals = library.overview()
    writers = {
        kind: _Writer(target / "data" / f"{kind}.parquet", columns, totals[kind]) for kind, columns in FILES.items()
    }
    places: dict[str, list[np.ndarray]] = {kind: [] for kind in ("rollouts", "pairs")}
    seen: set[str] = set()
    for number, shard in enumerate(shards):
        files = library.shard(shard)
        ids = files.questions.column("question_id").to_pylist()
        writers["questions"].add(_question(files, row, seen, target) for row in range(len(ids)))
        for kind, one in (("rollouts", _rollouts), ("pairs", _pairs)):
            starts: np.ndarray = np.zeros(len(ids), np.int64)
            for row, question_id in enumerate(ids):
                starts[row] = writers[kind].rows
                if question_id is not None and files.row_of[question_id] == row:
                    writers[kind].add(one(files, question_id))
            places[kind].append(starts)
        progress("writing shards", number + 1, len(shards))
    rows = {kind: writer.close() for kind, writer in writers.items()}
    index = join(library.index(0, seconds=float("inf")).items)
    for kind, starts_of in places.items():
        starts = np.concatenate(starts_of)
        ends = np.append(starts[1:], rows[kind])
        index[f"{kind}_at"] = Column(starts.astype(np.uint32))
        index[f"{kind}_end"] = Column(ends.astype(np.uint32))
    (target / "data" / "index.bin").write_bytes(encode(index))
    (target / "data" / "doubts.bin").write_bytes(encode(join(library.doubts(0, seconds=float("inf")).items)))
    (target / "data" / "overview.json").write_text(json.dumps({**totals, "shards": len(shards), "name": name}), "utf-8")
    written = [path for path in target.rglob("*") if path.is_file()]
    return {"files": len(written), "bytes": sum(path.stat().st_size for path in written)}


def _question(files: ShardFiles, row: int, seen: set[str], target: Path) -> dict[str, str]:
    """A question as the page reads it; its images are written on the way, each once."""
    question = files.question(row)
    images = []
    for sha256 in question["images"]:
        found, size = files.image(sha256), files.size(sha256)
        if found is None or size is None or found[0] not in MEDIA_TYPES:
            continue
        path = f"images/{sha256[:2]}/{sha256}.{found[0]}"
        images.append({"sha256": sha256, "path": path, "width": size[0], "height": size[1],
                       "tiles": tile_grid(*size, question["tiles"])})  # fmt: skip
        if sha256 not in seen:
            seen.add(sha256)
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(found[1])
    first = next((str(image["path"]) for image in images), "")
    return {
        "text": question["text"] or question["detail"],
        "source_id": question["source_id"],
        "source": question["source"],
        "answer": question["answer"] or "",
        "image": first,
        "json": json.dumps({"question": question, "images": images}, ensure_ascii=False),
    }


def _rollouts(files: ShardFiles, question_id: str) -> Iterator[dict[str, str]]:
    for rollout in files.rollouts(question_id):
        text = rollout["text"]
        detail = rollout_detail(rollout, [])
        kept = {key: value for key, value in detail.items() if key not in _LEFT_OUT}
        yield {"text": text, "json": json.dumps(kept, ensure_ascii=False)}


def _pairs(files: ShardFiles, question_id: str) -> Iterator[dict[str, str]]:
    for pair in files.pairs(question_id):
        texts = pair_pieces(pair)
        kept = {key: value for key, value in pair.items() if key not in ("chosen", "rejected", "question", "prompt")}
        described = json.dumps({**kept, "seed": str(pair["seed"]), "rejected_seed": str(pair["rejected_seed"])})
        yield {"pair_id": pair["pair_id"], "json": described, "texts": json.dumps(texts, ensure_ascii=False)}


class _Writer:
    """A Parquet file in row groups small enough to be fetched for one question; their number stays bounded."""

    def __init__(self, path: Path, columns: tuple[str, ...], expected: int) -> None:
        schema = pa.schema([(name, pa.string()) for name in columns])
        self._group = max(LEAST_GROUP, -(-expected // MOST_GROUPS))
        self._file = pq.ParquetWriter(path, schema, compression="snappy", write_statistics=False)
        self._rows: list[dict[str, str]] = []
        self.rows = 0

    def add(self, rows: Iterator[dict[str, str]]) -> None:
        for row in rows:
            self._rows.append(row)
            self.rows += 1
            if len(self._rows) == self._group:
                self._flush()

    def close(self) -> int:
        """End the file; returns its rows."""
        if self._rows:
            self._flush()
        self._file.close()
        return self.rows

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._rows, self._file.schema), row_group_size=self._group)
        self._rows = []


def publish_viewer(out: str | Path, name: str, *, private: bool = True, progress: Progress = no_progress) -> str:
    """Write the bundle and make it the Space `name`; returns the address. `private` decides about a new Space only.

    The same call again sends what changed. Raises HubError where the Hub refuses, DatasetError where no shard is
    finished.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN"))
    with TemporaryDirectory(prefix="mmpr-viewer-") as folder:
        write_bundle(out, Path(folder) / "viewer", progress)
        try:
            api.create_repo(name, repo_type="space", space_sdk="static", private=private, exist_ok=True)
            with warnings.catch_warnings():  # the page reads Parquet: it is meant to be in the Space
                warnings.filterwarnings("ignore", "It seems that you are about to commit a data file", UserWarning)
                api.upload_folder(
                    folder_path=Path(folder) / "viewer",
                    repo_id=name,
                    repo_type="space",
                    commit_message="The viewer of the data set",
                )
        except (OSError, ValueError, RuntimeError) as error:  # what the client raises is one of these
            message = masked(error_text(error), api.token if isinstance(api.token, str) else None)
            raise HubError(
                f"The Hub did not take the Space {name}: {message[:MESSAGE_CHARS]}",
                remedy="Use a token that may write Spaces; or `mmpr view OUT --bundle DIR` and upload the folder.",
            ) from None
    return f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/spaces/{name}"
