"""MMPR as its authors release it, small: annotations in zips within a zip, images in a split zip, paths of a cluster.

The layout follows what public loaders and preparation scripts read: `meta.json` with `root` and `annotation`, rows of
`image` (a path or a list of them), `question`, `chosen`, `rejected`; of MMPR-Tiny one Parquet file in verl's columns.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.made import png_bytes

SOURCES = ("m3cot_correctness_rules", "clevr_format_rules", "spot_difference")
CLUSTER = "/mnt/petrelfs/someone/workspace/MMPR-v1.2"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file in memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def split(name: str, data: bytes, parts: int) -> dict[str, bytes]:
    """The data as `split` cuts it: `name_aa`, `name_ab`, ... of one size, the last one shorter."""
    size = -(-len(data) // parts)
    return {f"{name}_a{'abcdefgh'[n]}": data[n * size : (n + 1) * size] for n in range(parts)}


def pairs(source: str, count: int) -> list[dict[str, Any]]:
    """Rows of one source; those of `spot_difference` have two images each."""
    two = source == "spot_difference"
    return [
        {
            "id": i,
            "image": [f"{i}.png", f"{(i + 1) % count}.png"] if two else f"{i}.png",
            "question": f"{'Image-1: <image> Image-2: <image>' if two else '<image>'}\nWhat is shown in {source} {i}?",
            "chosen": f"It is square number {i} of {source}.",
            "rejected": f"It is a circle, and no square {i}.",
        }
        for i in range(count)
    ]


def mmpr(count: int = 12, parts: int = 4, cluster: str = CLUSTER, nested: bool = True) -> dict[str, bytes]:
    """The files of an MMPR release with `count` rows a source."""
    pictures, annotations, meta = {}, {}, {}
    for number, source in enumerate(SOURCES):
        noise = random.Random(number)
        for i in range(count):
            # bytes behind the end of a PNG are read by nobody; they give images of a size that parts can be cut in
            pictures[f"images/{source}/{i}.png"] = png_bytes(number * 100 + i) + noise.randbytes(4000)
        lines = "".join(json.dumps(row) + "\n" for row in pairs(source, count)).encode()
        if nested and number:
            annotations[f"annotations/{source}.zip"] = zipped({f"{source}.jsonl": lines})
        else:
            annotations[f"annotations/{source}.jsonl"] = lines
        meta[source] = {
            "root": f"{cluster}/images/{source}",
            "annotation": f"{cluster}/annotations/{source}.jsonl",
            "data_augment": False,
            "max_dynamic_patch": 12,
            "repeat_time": 1,
            "length": count,
        }
    return {
        "README.md": b"---\nlicense: mit\n---\n# MMPR\n",
        "meta.json": json.dumps(meta).encode(),
        "annotations.zip": zipped(annotations),
        **split("images.zip", zipped(pictures, zipfile.ZIP_STORED), parts),
    }


def prompts(count: int = 12) -> dict[str, bytes]:
    """MMPR-v1.2-prompts: questions with golds in a zip, without a `meta.json`."""
    asked = "<image>\nHow many squares are in"
    rows = [{"image": f"images/ScienceQA/{i}.png", "question": f"{asked} {i}?", "answer": str(i)} for i in range(count)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    pictures = {f"MMPR-v1.2-prompts/images/ScienceQA/{i}.png": png_bytes(i) for i in range(count)}
    return {
        "correctness_prompts.zip": zipped({"correctness_prompts/scienceqa_en_20240402_extracted.jsonl": lines}),
        **split("correctness_images.zip", zipped(pictures), 2),
    }


def tiny(count: int = 12) -> dict[str, bytes]:
    """MMPR-Tiny: one Parquet file in verl's columns, image paths that begin with the data set's name."""
    rows = [
        {
            "data_source": "mmpr",
            "prompt": [{"role": "user", "content": f"<image>\nHow many squares are in picture {i}?"}],
            "images": [{"path": f"MMPR-Tiny/images/a/{i}.png"}],
            "reward_model": {"style": "rule", "ground_truth": str(i)},
            "extra_info": {"split": "train", "index": i},
        }
        for i in range(count)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return {
        "mmpr_tiny.parquet": buffer.getvalue(),
        "images.zip": zipped({f"images/a/{i}.png": png_bytes(i) for i in range(count)}),
    }
