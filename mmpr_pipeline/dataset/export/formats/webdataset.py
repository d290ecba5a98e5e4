"""WebDataset: one tar a shard, a sample for the images that one or more questions share, with all their pairs.

A sample is `KEY.json` (`images`: their sha256; `pairs`: rows as in the pairs files) and `KEY.0.png`, `KEY.1.jpg`, ...
So an image lies in a shard's tar once, however many pairs it has. Memory holds the pairs of one shard.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.core.schemas import PAIR_SCHEMA
from mmpr_pipeline.dataset.export.built import Built
from mmpr_pipeline.dataset.files.arrow_file import open_table
from mmpr_pipeline.dataset.publish.parquet import Images


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `pairs-NNNNNN.tar`, numbered from 0 without a gap."""
    counts: Counter[str] = Counter()
    for shard in range(built.shards):
        with (
            built.opened(shard) as (pairs, images),
            tarfile.open(folder / f"pairs-{shard:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            counts["pairs"] += _write_shard(tar, shard, pairs, images)
        announce(shard + 1)
    return counts


def _write_shard(tar: tarfile.TarFile, shard: int, path: Path, images: Images) -> int:
    pairs = open_table(path, PAIR_SCHEMA.names)
    samples: dict[tuple[str, ...], list[int]] = {}
    for row, names in enumerate(pairs["images"].to_pylist()):
        samples.setdefault(tuple(names), []).append(row)
    for number, (names, rows) in enumerate(samples.items()):
        key = f"{shard:06d}-{number:08d}"
        sample = {"images": list(names), "pairs": pairs.take(rows).to_pylist()}
        _add(tar, f"{key}.json", json.dumps(sample, ensure_ascii=False).encode())
        for place, name in enumerate(names):
            _add(tar, f"{key}.{place}.{images.formats[name]}", images.bytes_of(name))
    return int(pairs.num_rows)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without time and owner: the same dataset gives the same tars
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def usage(dest: Path) -> str:
    """How it is read."""
    return (
        "# WebDataset\n\nOne sample for each image (or set of images), with all pairs of its questions in `json`:\n\n"
        f'    webdataset.WebDataset("{dest}/pairs-{{000000..LAST}}.tar").decode("pil")\n'
    )
