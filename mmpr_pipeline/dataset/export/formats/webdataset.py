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


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `pairs-NNNNNN.tar`, numbered from 0 without a gap."""
    counts: Counter[str] = Counter()
    for shard in range(built.shards):
        with (
            built.opened(shard) as (path, images),
            tarfile.open(folder / f"pairs-{shard:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            pairs = open_table(path, PAIR_SCHEMA.names)
            samples: dict[tuple[str, ...], list[int]] = {}
            for row, names in enumerate(pairs["images"].to_pylist()):
                samples.setdefault(tuple(names), []).append(row)
            for number, (images_of, rows) in enumerate(samples.items()):
                key = f"{shard:06d}-{number:08d}"
                sample = {"images": list(images_of), "pairs": pairs.take(rows).to_pylist()}
                _add(tar, f"{key}.json", json.dumps(sample, ensure_ascii=False).encode())
                for place, name in enumerate(images_of):
                    _add(tar, f"{key}.{place}.{images.formats[name]}", images.bytes_of(name))
            counts["pairs"] += int(pairs.num_rows)
        announce(shard + 1)
    return counts


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
