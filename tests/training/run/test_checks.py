from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmpr_pipeline.core.errors import ItemRejected, TrainingError
from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.data.encode import require_images_match
from mmpr_pipeline.training.objective.loss import LossSettings, LossTerms, mixed, pair_log_probs, recipe
from mmpr_pipeline.training.objective.reference import online_reference
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.step import check_completions, check_finite, check_first_loss
from tests.training import tiny


def first_step(weights: dict[str, float], reference_seed: int) -> None:
    batch = collate(*tiny.several_groups())
    policy = PrefixSharedPolicy(tiny.internvl(seed=0))
    reference = online_reference(PrefixSharedPolicy(tiny.internvl(seed=reference_seed)))
    terms = mixed(pair_log_probs(batch, policy(batch).responses, *reference(batch)), weights, LossSettings())
    check_first_loss(means(terms), weights, LossSettings())


def means(loss: LossTerms) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in loss.terms.items()}


@pytest.mark.parametrize("name", ["mpo", "bco", "ipo+sft", "sppo", "orpo", "sft"])
def test_the_first_step_of_a_sound_run_passes(name: str) -> None:
    first_step(recipe(name), reference_seed=0)


def test_another_reference_stops_the_run_at_the_first_step() -> None:
    with pytest.raises(TrainingError, match=r"0\.8318"):
        first_step(recipe("mpo"), reference_seed=1)


def test_a_loss_that_is_no_number_stops_the_run_too() -> None:
    pairs = pair_log_probs(
        collate(*tiny.several_groups()), torch.full((12,), float("nan")), torch.zeros(8), torch.zeros(8)
    )
    with pytest.raises(TrainingError):
        check_first_loss(means(mixed(pairs, recipe("mpo"), LossSettings())), recipe("mpo"), LossSettings())


def test_a_sound_batch_scores_every_token_of_every_response() -> None:
    check_completions(collate(*tiny.several_groups()))


def test_a_response_without_scored_tokens_is_found() -> None:
    batch = collate(*tiny.several_groups())
    kept = batch.score_segment != 1
    torn = replace(batch, score_segment=batch.score_segment[kept])
    with pytest.raises(TrainingError, match=r"\[0\]"):
        check_completions(torn)


def test_image_tokens_must_match_the_images() -> None:
    groups, images = tiny.several_groups()
    family, model = PrefixSharedPolicy(tiny.internvl()).family, tiny.internvl()
    for group, inputs in zip(groups, images, strict=True):
        require_images_match(group, tiny.IMAGE_TOKEN, family.image_tokens(model, inputs))
    cut = replace(groups[1], prompt=groups[1].prompt[6:])
    with pytest.raises(ItemRejected) as caught:
        require_images_match(cut, tiny.IMAGE_TOKEN, family.image_tokens(model, images[1]))
    assert caught.value.reason == "image_tokens_mismatch"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_stops_the_run(value: float) -> None:
    check_finite(1.0, "loss", 3)
    with pytest.raises(TrainingError, match="step 3"):
        check_finite(value, "loss", 3)
