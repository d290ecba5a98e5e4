"""The data sets of `rows`, in repositories of the test Hub that are laid out as the real ones are."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mmpr_pipeline.sources.declaration.catalog import find_declaration
from tests.hub.repository import Repository
from tests.hub.rows import Row, image, rows_of
from tests.hub.server import HubServer

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class Split:
    """A split of a configuration, in so many Parquet files of so many rows a row group."""

    config: str
    split: str
    folder: str
    files: int = 1
    group: int = 64


PARQUET = {
    "geoqa": ("hz2475/geoQA", Split("default", "train", "data", files=2)),
    "mathvista": ("AI4Math/MathVista", Split("default", "testmini", "data")),
    "mathvision": ("MathLLMs/MathVision", Split("default", "test", "data")),
    "geometry3k": ("hiyouga/geometry3k", Split("default", "train", "data")),
    "geo170k": ("lmms-lab/LLaVA-OneVision-Data", Split("geo170k(qa)", "train", "geo170k(qa)")),
    "clevr_math": ("lmms-lab/LLaVA-OneVision-Data", Split("CLEVR-Math(MathV360K)", "train", "CLEVR-Math(MathV360K)")),
    "chartqa": ("HuggingFaceM4/ChartQA", Split("default", "train", "data", files=3)),
    "docvqa": ("HuggingFaceM4/DocumentVQA", Split("default", "train", "data", group=5)),
    "textvqa": ("lmms-lab-encoder/textvqa", Split("default", "train", "data")),
    "ocrvqa": ("howard-hou/OCR-VQA", Split("default", "train", "data")),
    "ai2d": ("HuggingFaceM4/the_cauldron", Split("ai2d", "train", "ai2d")),
    "vqav2": ("HuggingFaceM4/the_cauldron", Split("vqav2", "train", "vqav2", files=2)),
    "m3cot": ("LightChen2333/M3CoT", Split("default", "train", "data")),
    "scienceqa": ("lmms-lab-encoder/ScienceQA", Split("ScienceQA-IMG", "train", "ScienceQA-IMG")),
    "rlaif_v": ("openbmb/RLAIF-V-Dataset", Split("default", "train", "data")),
}


def serve(counts: Mapping[str, int]) -> HubServer:
    """A Hub with so many rows of each of the data sets, at the revisions that the catalog names. To be closed."""
    server = HubServer()
    server.repositories |= repositories(counts)
    return server


def repositories(counts: Mapping[str, int]) -> dict[str, Repository]:
    """The repositories that hold the data sets, those of one repository together."""
    files: dict[str, dict[str, bytes]] = defaultdict(dict)
    configs: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for name, count in counts.items():
        if name == "mathv360k":
            files["Zhiqiang007/MathV360K"] |= archive_files(rows_of(name, count))
            continue
        identity, split = PARQUET[name]
        files[identity] |= parquet_files(split, rows_of(name, count))
        configs[identity][split.config].append({"split": split.split, "path": f"{split.folder}/{split.split}-*"})
    made = {}
    for identity, found in files.items():
        made[identity] = Repository(identity)
        made[identity].put({"README.md": card(configs[identity]), **found}, "Upload dataset", sha=pinned(identity))
    return made


def pinned(identity: str) -> str | None:
    """The commit at which the catalog reads a repository, where it names one."""
    hubs = [find_declaration(name)[0].hub for name in [*PARQUET, "mathv360k"]]
    return next((hub.revision for hub in hubs if hub and hub.id == identity and hub.revision), None)


def card(configs: Mapping[str, list[dict[str, str]]]) -> bytes:
    """A README whose front matter says which files are which split; without configurations there is none."""
    told = {"configs": [{"config_name": name, "data_files": splits} for name, splits in configs.items()]}
    return f"---\n{yaml.safe_dump(told if configs else {'license': 'apache-2.0'})}---\n# Made for tests\n".encode()


def parquet_files(split: Split, rows: list[Row]) -> dict[str, bytes]:
    """The rows in the files of a split, with the hash in their names that `datasets` gives them."""
    made = {}
    for number in range(split.files):
        part = rows[len(rows) * number // split.files : len(rows) * (number + 1) // split.files]
        name = f"{split.folder}/{split.split}-{number:05d}-of-{split.files:05d}-6a611c71596db30f.parquet"
        made[name] = parquet_bytes(part, split.group)
    return made


def parquet_bytes(rows: list[Row], group: int) -> bytes:
    """A Parquet file with images as structs, and the note of `datasets` on which columns are images."""
    table = pa.Table.from_pylist(rows)
    features = {}
    for name in table.schema.names:
        first = next((row[name] for row in rows if row[name] is not None), None)
        if isinstance(first, dict) and set(first) == {"bytes", "path"}:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, pa.array([row[name] for row in rows], IMAGE))
            features[name] = {"_type": "Image"}
    info = json.dumps({"info": {"features": features}})
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), sink, row_group_size=group)
    return sink.getvalue()


def archive_files(rows: list[Row]) -> dict[str, bytes]:
    """A JSON list beside a zip of the images that its paths lead into: MathV360K."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            archive.writestr(f"data_images/{row['image']}", row["_picture"])
    listed = [{key: value for key, value in row.items() if key != "_picture"} for row in rows]
    return {"train_samples_all_tuning.json": json.dumps(listed).encode(), "data_images.zip": sink.getvalue()}


def webdataset(rows: Iterable[Row], columns: Mapping[str, str], samples: int) -> dict[str, bytes]:
    """The rows as WebDataset tars of so many samples: one picture as `jpg`, the other columns in a `json`."""
    made, rows = {}, list(rows)
    for number, start in enumerate(range(0, len(rows), samples)):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w") as tar:
            for at, row in enumerate(rows[start : start + samples], start=start):
                told = {new: row[old] for old, new in columns.items()}
                picture = next(value["bytes"] for value in row.values() if is_image(value))
                for extension, data in (("jpg", picture), ("json", json.dumps(told).encode())):
                    member = tarfile.TarInfo(f"{at:06d}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        made[f"data/train-{number:05d}.tar"] = sink.getvalue()
    return made


def is_image(value: Any) -> bool:
    """Whether a value is an image as `rows` makes them."""
    return isinstance(value, dict) and set(value) == set(image(b""))
