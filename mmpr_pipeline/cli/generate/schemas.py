"""Writes the schemas of all records and files to `schemas/`, or checks that those there have not drifted.

    python -m mmpr_pipeline.cli.generate.schemas [--check] [FOLDER]

`schemas/v1/json/NAME.schema.json` are JSON Schemas. `schemas/v1/arrow/NAME.json` say the same of the Arrow files,
column by column, and `NAME.arrow` beside them is the schema itself as an Arrow IPC message. A change that readers could
notice raises `records.SCHEMA_VERSION`; the folders of older versions stay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel

from mmpr_pipeline.core import records
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import Manifest
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.study.settings import StudyConfig
from mmpr_pipeline.training.settings import TrainConfig

RECORDS: tuple[type[BaseModel], ...] = (
    records.Image,
    records.Question,
    records.Rollout,
    records.VerdictRecord,
    records.PreferencePair,
    records.Reject,
    records.CheckedRollout,
    records.QuestionRow,
    Manifest,
    BuildConfig,
    TrainConfig,
    EvalConfig,
    StudyConfig,
    SourceDeclaration,
)
WRITTEN_BY_HAND = (BuildConfig, TrainConfig, EvalConfig, StudyConfig, SourceDeclaration)
FOLDER = Path("schemas")


def json_schema(model: type[BaseModel]) -> dict[str, object]:
    """JSON Schema (2020-12) of a record as it is written, of settings as they may be given; with its version."""
    schema = model.model_json_schema(mode="validation" if model in WRITTEN_BY_HAND else "serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"mmpr/v{records.SCHEMA_VERSION}/{model.__name__}.schema.json",
        **schema,
    }


def describe(schema: pa.Schema) -> dict[str, object]:
    """An Arrow schema as plain data: record, version, and name, type, nullability and meaning of each column."""
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    columns = [
        {
            "name": field.name,
            "type": str(field.type),
            "nullable": field.nullable,
            "description": (field.metadata or {}).get(b"description", b"").decode(),
        }
        for field in schema
    ]
    return {**metadata, "columns": columns}


def files() -> dict[str, bytes]:
    """Every schema file by its path within the folder."""
    version = f"v{records.SCHEMA_VERSION}"
    found = {f"{version}/json/{model.__name__}.schema.json": _text(json_schema(model)) for model in RECORDS}
    for kind, schema in layout.SCHEMAS.items():
        found[f"{version}/arrow/{kind}.json"] = _text(describe(schema))
        found[f"{version}/arrow/{kind}.arrow"] = schema.serialize().to_pybytes()
    return found


def _text(data: dict[str, object]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()  # in the order of the fields


def write(folder: Path = FOLDER) -> None:
    """Write all schema files of this version."""
    for name, content in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def drift(folder: Path = FOLDER) -> list[str]:
    """Names of schema files of this version that are missing, not wanted, or say something else than the code."""
    wanted = files()
    there = {
        p.relative_to(folder).as_posix() for p in (folder / f"v{records.SCHEMA_VERSION}").rglob("*") if p.is_file()
    }
    changed = {name for name in wanted.keys() & there if not _same(name, (folder / name).read_bytes(), wanted[name])}
    return sorted((wanted.keys() ^ there) | changed)


def _same(name: str, one: bytes, other: bytes) -> bool:
    """Whether two schema files say the same; the bytes of an Arrow message may differ from one pyarrow to the next."""
    try:
        if name.endswith(".arrow"):
            schemas = [pa.ipc.read_schema(pa.py_buffer(content)) for content in (one, other)]
            return bool(schemas[0].equals(schemas[1], check_metadata=True))
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, pa.ArrowException, OSError):
        return False


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    folder = Path(next((a for a in arguments if not a.startswith("-")), FOLDER))
    if "--check" not in arguments:
        write(folder)
        return 0
    drifted = drift(folder)
    for name in drifted:
        print(f"{folder / name} has drifted from the code", file=sys.stderr)
    if drifted:
        print("Run: python -m mmpr_pipeline.cli.generate.schemas", file=sys.stderr)
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
