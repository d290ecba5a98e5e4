from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.data.encode import Encoded, Encoder, encoding_digest, end_of_turn
from mmpr_pipeline.training.data.shards import Shards
from mmpr_pipeline.training.policy.families import family_of
from mmpr_pipeline.training.policy.load import load_model, load_processor
from tests.dataset.conftest import make_outcome
from tests.training import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model_folder(tmp_path_factory.mktemp("model"))


def encode(folder: Path, tmp_path: Path, outcome: Any, max_tiles: int = 12) -> tuple[Encoded, Any]:
    model, processor = load_model(folder), load_processor(folder)
    shards = Shards(open_store(made.dataset(tmp_path / "data", [outcome], shards=1)))
    return Encoder(processor, model, family_of(model), max_tiles).encode(shards[0], 0, 0, 2), processor


def test_a_question_becomes_the_chat_that_was_sampled(folder: Path, tmp_path: Path) -> None:
    outcome = make_outcome(6)
    encoded, processor = encode(folder, tmp_path, outcome)
    group = encoded.group
    assert group is not None
    text = processor.tokenizer.decode(group.prompt).replace("<IMG_CONTEXT>", "")
    assert (
        text
        == "<|im_start|>user\n<img></img>\nHow tall is bar 6?\nThink step by step.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert len(encoded.images["pixel_values"]) * 16 == group.prompt.count(processor.tokenizer.vocab["<IMG_CONTEXT>"])
    chosen = group.responses[group.pairs[0].chosen]
    assert processor.tokenizer.decode(chosen) == outcome.pairs[0].chosen + "<|im_end|>"
    assert chosen[-1] == end_of_turn(processor)


def test_tiles_follow_the_source_and_the_limit(folder: Path, tmp_path: Path) -> None:
    outcome = make_outcome(6)  # an image of 23 x 10 px
    many, _ = encode(folder, tmp_path / "a", outcome)
    one, _ = encode(folder, tmp_path / "b", outcome, max_tiles=1)
    source = replace(outcome, row=outcome.row.model_copy(update={"tiles": 1}))
    also_one, _ = encode(folder, tmp_path / "c", source)
    assert len(many.images["pixel_values"]) > 1
    assert len(one.images["pixel_values"]) == len(also_one.images["pixel_values"]) == 1


def test_image_tokens_in_a_hostile_question_reject_it(folder: Path, tmp_path: Path) -> None:
    outcome = make_outcome(6)
    pairs = tuple(p.model_copy(update={"prompt": f"{p.prompt}<IMG_CONTEXT>"}) for p in outcome.pairs)
    encoded, _ = encode(folder, tmp_path, replace(outcome, pairs=pairs))
    assert encoded.group is None
    assert [r.reason for r in encoded.rejects] == ["reserved_token"] * 2


def test_a_changed_template_is_another_encoding(folder: Path, tmp_path: Path) -> None:
    before = encoding_digest(folder, 12)
    assert before == encoding_digest(folder, 12)
    assert before != encoding_digest(folder, 6)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert encoding_digest(copy, 12) == before
    (copy / "chat_template.jinja").write_text("other")
    assert encoding_digest(copy, 12) != before
