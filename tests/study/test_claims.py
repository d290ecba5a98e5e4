"""Claims about generated pictures, and lessons that teach the embedded model to verify them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.checking import check
from mmpr_pipeline.models.resolve import NANO, resolve_model
from mmpr_pipeline.pairing.feedback import split_claims
from mmpr_pipeline.sources.generated.describe import named_objects
from mmpr_pipeline.sources.generated.scenes import is_in, scene_and_question
from mmpr_pipeline.study.claims import claim_about, claim_lesson, teach
from mmpr_pipeline.study.steps.known_feedback import is_true

CLAIMS = [claim_about(0, index, "train") for index in range(400)]


def test_half_of_the_claims_are_true_and_the_world_agrees() -> None:
    assert all(is_true(claim.text, claim.scene) == claim.true for claim in CLAIMS)
    assert 160 < sum(claim.true for claim in CLAIMS) < 240


def test_a_false_claim_errs_in_colour_shape_or_place() -> None:
    false = [claim for claim in CLAIMS if not claim.true]
    elsewhere = [claim for claim in false if named_objects(claim.text)[0] in claim.scene.names()]
    assert 0.1 < len(elsewhere) / len(false) < 0.5  # the object is there, at another place


def test_claims_read_as_those_that_descriptions_are_split_into() -> None:
    _, item = scene_and_question("nano_describe", "train", 0, 3)
    claims = split_claims(item.reasoning)
    first = next(claim for claim in CLAIMS if claim.text.startswith("The picture shows"))
    assert claims[0].startswith("The picture shows a ")
    assert first.text.split(" at the ")[0].count(" ") == claims[0].split(" at the ")[0].count(" ")
    assert all(claim.startswith("a ") for claim in claims[1:])


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_claim_is_of_its_split(split: str) -> None:
    assert all(is_in(claim_about(1, index, split).scene, split) for index in range(20))


def test_a_lesson_says_what_the_place_shows_and_ends_in_the_verdict() -> None:
    for claim in CLAIMS[:50]:
        lesson = claim_lesson(claim)
        assert lesson.prompt.startswith("<image>\nIs this true of the image?")
        assert claim.text in lesson.prompt
        place = claim.text.rpartition(" at the ")[2]
        assert lesson.response.startswith(f"At the {place} the picture shows ")
        assert is_true(claim.shown, claim.scene)
        gold = "yes" if claim.true else "no"
        assert check(lesson.response, gold=gold, kind="yes_no").outcome == "correct"


@pytest.mark.slow
def test_teaching_changes_the_language_model_and_leaves_vision(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    teach(tmp_path / "taught", steps=2, seed=0, batch=4)
    before = load_file(Path(resolve_model(NANO).path) / "model.safetensors")
    after = load_file(tmp_path / "taught" / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved == {name for name in before if "language_model" in name or "lm_head" in name}
    assert (tmp_path / "taught" / "tokenizer.json").is_file()
