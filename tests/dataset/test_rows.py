"""The rows of Arrow files as plain data: one entry a column, in the schema's order."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from mmpr_pipeline.core.schemas import PAIR_SCHEMA, QUESTION_SCHEMA, ROLLOUT_SCHEMA
from mmpr_pipeline.dataset.rows import PairFields, QuestionFields, RolloutFields

FIELDS = [(PairFields, PAIR_SCHEMA), (RolloutFields, ROLLOUT_SCHEMA), (QuestionFields, QUESTION_SCHEMA)]


@pytest.mark.parametrize(("row", "schema"), FIELDS)
def test_a_row_has_an_entry_for_each_column_that_is_null_where_the_column_may_be(row: type, schema: object) -> None:
    hints = get_type_hints(row)
    assert sorted(hints) == sorted(schema.names)  # type: ignore[attr-defined]
    for name, hint in hints.items():
        assert (type(None) in getattr(hint, "__args__", ())) == schema.field(name).nullable, name  # type: ignore[attr-defined]
