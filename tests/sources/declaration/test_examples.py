"""The declarations in examples/sources, and the real questions and images that they describe."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.declaration.schema import load_declaration
from mmpr_pipeline.sources.images.load import decode
from mmpr_pipeline.sources.rows.mapping import question_from_row
from tests.sources.made import png_bytes

EXAMPLES = Path(__file__).parents[3] / "examples" / "sources"
FOUND = {
    "mathvision": {"math": 128, "choice": 111, "empty_question": 1},
    "puzzlevqa": {"choice": 80},
    "easyvqa": {"yes_no": 50, "text": 10},
    "nlvr": {"choice": 60},
    "opencqa": {"none": 60},
}


@pytest.mark.parametrize("name", FOUND)
def test_the_example_row_becomes_a_question(name: str) -> None:
    declaration = load_declaration(EXAMPLES / f"{name}.yaml")
    row = {**(declaration.example or {}), "image": png_bytes()}
    assert question_from_row(declaration, row, "1", lambda raw: raw).source == name


@pytest.mark.parametrize("name", FOUND)
def test_every_real_row_is_a_question_or_a_known_reject(name: str, shared_data: Path) -> None:
    source = open_source(str(EXAMPLES / f"{name}.yaml"), str(shared_data))
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    seen = Counter(item.kind if isinstance(item, Question) else item.reason for item in items)
    assert seen == FOUND[name]
    questions = [item for item in items if isinstance(item, Question)]
    assert len({question.question_id for question in questions}) == len(questions)
    assert all(len(question.images) == 1 for question in questions)
    image = questions[0].images[0]
    assert decode(image).size == (image.width, image.height)
    assert all(question.answer for question in questions) == (name != "opencqa")


def test_the_one_real_reject_is_the_question_that_stands_only_in_its_image(shared_data: Path) -> None:
    source = open_source(str(EXAMPLES / "mathvision.yaml"), str(shared_data))
    index = source.index()
    rejects = [item for item in source.read(index, 0, index.rows) if isinstance(item, Reject)]
    assert [reject.source_id for reject in rejects] == ["mathvision-528"]
