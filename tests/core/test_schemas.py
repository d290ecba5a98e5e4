"""The schemas in `schemas/` are those of the code, and what is written keeps to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_type_hints

import jsonschema
import pyarrow as pa
import pytest

from mmpr_pipeline.cli.generate import schemas
from mmpr_pipeline.core.records import PreferencePair, QuestionRow
from mmpr_pipeline.core.schemas import (
    PAIR_SCHEMA,
    QUESTION_SCHEMA,
    ROLLOUT_SCHEMA,
    PairFields,
    QuestionFields,
    RolloutFields,
)
from mmpr_pipeline.dataset.files import layout
from tests.dataset.conftest import make_outcome, write_dataset

FOLDER = Path(__file__).resolve().parents[2] / "schemas"


def test_schemas_have_not_drifted() -> None:
    assert schemas.drift(FOLDER) == [], "run: make schemas"


def test_drift_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schemas.write(tmp_path)
    assert schemas.main(["--check", str(tmp_path)]) == 0
    pairs, verdict = (
        tmp_path / "v1" / "json" / "PreferencePair.schema.json",
        tmp_path / "v1" / "json" / "Verdict.schema.json",
    )
    pairs.write_text(pairs.read_text().replace("The preferred response", "Another meaning"))
    verdict.unlink()
    (tmp_path / "v1" / "arrow" / "images.arrow").write_bytes(pa.schema([("x", pa.int64())]).serialize().to_pybytes())
    (tmp_path / "v1" / "old.json").write_text("{}")
    assert schemas.drift(tmp_path) == [
        "v1/arrow/images.arrow", "v1/json/PreferencePair.schema.json", "v1/json/Verdict.schema.json", "v1/old.json",
    ]  # fmt: skip
    assert schemas.main(["--check", str(tmp_path)]) == 1
    assert "images.arrow has drifted" in capsys.readouterr().err


def test_records_keep_to_their_schemas(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(out)

    def check(name: str, value: object) -> None:
        schema = json.loads((FOLDER / "v1" / "json" / f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(value, schema)

    outcome = make_outcome(2)
    check("PreferencePair", outcome.pairs[0].model_dump(mode="json"))
    check("CheckedRollout", outcome.rollouts[0].model_dump(mode="json"))
    check("QuestionRow", outcome.row.model_dump(mode="json"))
    check("Manifest", json.loads((out / layout.shard_key("manifest", 0, 3)).read_text()))
    with pytest.raises(jsonschema.ValidationError):
        check("PreferencePair", outcome.row.model_dump(mode="json"))


@pytest.mark.parametrize("kind", sorted(layout.SCHEMAS))
def test_arrow_schemas_can_be_read_and_describe_every_column(kind: str) -> None:
    schema = pa.ipc.read_schema(pa.py_buffer((FOLDER / "v1" / "arrow" / f"{kind}.arrow").read_bytes()))
    described = json.loads((FOLDER / "v1" / "arrow" / f"{kind}.json").read_text())
    assert [column["name"] for column in described["columns"]] == schema.names
    assert all(column["description"] for column in described["columns"])


def test_arrow_columns_are_the_fields_of_the_records() -> None:
    assert layout.SCHEMAS["pairs"].names == list(PreferencePair.model_fields)
    assert layout.SCHEMAS["questions"].field("reason").nullable
    assert layout.SCHEMAS["questions"].names == list(QuestionRow.model_fields)


FIELDS = [(PairFields, PAIR_SCHEMA), (RolloutFields, ROLLOUT_SCHEMA), (QuestionFields, QUESTION_SCHEMA)]


@pytest.mark.parametrize(("row", "schema"), FIELDS)
def test_a_row_has_an_entry_for_each_column_that_is_null_where_the_column_may_be(row: type, schema: object) -> None:
    hints = get_type_hints(row)
    assert sorted(hints) == sorted(schema.names)  # type: ignore[attr-defined]
    for name, hint in hints.items():
        assert (type(None) in getattr(hint, "__args__", ())) == schema.field(name).nullable, name  # type: ignore[attr-defined]
