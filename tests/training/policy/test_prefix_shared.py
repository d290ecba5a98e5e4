"""The prefix-shared forward equals separate plain forwards: log-probs and gradients."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.data.groups import Group
from mmpr_pipeline.training.objective.loss import mpo, pair_log_probs
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from tests.training import tiny


def plain_log_probs(model: Any, group: Group, images: dict[str, Tensor]) -> list[Tensor]:
    """Token log-probs of each response from its own ordinary forward of prompt + response, eager attention."""
    out = []
    for response in group.responses:
        ids = torch.tensor([group.prompt + response])
        extra = {"mm_token_type_ids": (ids == tiny.IMAGE_TOKEN).int()} if "image_grid_thw" in images else {}
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **images, **extra).logits[0]
        predicted = logits[len(group.prompt) - 1 : -1].log_softmax(-1)
        out.append(predicted.gather(1, torch.tensor(response)[:, None])[:, 0])
    return out


def gradients(model: Any) -> dict[str, Tensor]:
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return grads


def weighted(values: Tensor) -> Tensor:
    """A scalar in which every response counts differently, so that no mix-up cancels."""
    return (values * torch.linspace(-1, 2, len(values))).sum()


def assert_same_gradients(ours: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert set(ours) == set(plain)
    largest = max(float(g.abs().max()) for g in plain.values())
    assert largest > 0.01
    for name, expected in plain.items():
        scale = max(float(expected.abs().max()), 1e-3 * largest)
        assert float((ours[name] - expected).abs().max()) / scale < tolerance, name


def assert_equal_to_plain(
    make: Callable[[], Any], groups: list[Group], images: list[dict[str, Tensor]], **batch_options: Any
) -> None:
    plain_model, shared_model = make(), make()
    for model in (plain_model, shared_model):
        model.train()
    plain = [
        p for group, inputs in zip(groups, images, strict=True) for p in plain_log_probs(plain_model, group, inputs)
    ]
    plain_sums = torch.stack([tokens.sum() for tokens in plain])
    policy = PrefixSharedPolicy(shared_model, chunk_bytes=4 * tiny.VOCABULARY * 7)  # chunks of 7, with a left-over
    scores = policy(collate(groups, images, **batch_options))
    assert torch.allclose(scores.responses, plain_sums, atol=1e-4, rtol=1e-5)
    weighted(plain_sums).backward()
    weighted(scores.responses).backward()
    assert_same_gradients(gradients(shared_model), gradients(plain_model))


@pytest.mark.parametrize("text", ["qwen2", "qwen3", "llama"])
def test_packed_groups_equal_separate_forwards(text: str) -> None:
    groups, images = tiny.several_groups()
    assert_equal_to_plain(lambda: tiny.internvl(text), groups, images)


def test_without_sharing_among_responses_it_is_equal_too() -> None:
    groups, images = tiny.several_groups()
    assert collate(groups, images, share=False).tokens > collate(groups, images).tokens
    assert_equal_to_plain(tiny.internvl, groups, images, share=False)


def test_token_log_probs_equal_separate_forwards() -> None:
    rng = random.Random(3)
    group = tiny.group("g", [tiny.words(rng, 25), tiny.words(rng, 1), tiny.words(rng, 12)], [(0, 1), (0, 2)])
    model = tiny.internvl()
    plain = torch.cat(plain_log_probs(model, group, tiny.tiles(1, 5)))
    scores = PrefixSharedPolicy(model)(collate([group], [tiny.tiles(1, 5)]))
    assert torch.allclose(scores.tokens, plain, rtol=0, atol=1e-5)


def test_qwen_with_three_position_axes_equals_separate_forwards() -> None:
    rng = random.Random(5)
    half = tiny.words(rng, 18)
    grids = [(1, 4, 4), (1, 4, 8), (1, 2, 6)]  # 4, 8 and 3 tokens after merging 2 x 2

    def prompt(which: list[int]) -> tuple[int, ...]:
        parts = [(tiny.IMAGE_TOKEN,) * (grids[i][1] * grids[i][2] // 4) + tiny.words(rng, 2) for i in which]
        return tiny.words(rng, 4) + sum(parts, ()) + tiny.words(rng, 6)

    def pictures(which: list[int]) -> dict[str, Tensor]:
        if not which:
            return {}
        patches = sum(grids[i][1] * grids[i][2] for i in which)
        return {
            "pixel_values": torch.randn(patches, 96, generator=torch.Generator().manual_seed(which[0])),
            "image_grid_thw": torch.tensor([grids[i] for i in which]),
        }

    shapes: list[tuple[list[int], list[tuple[int, ...]], list[tuple[int, int]]]] = [
        ([0], [tiny.words(rng, 7), tiny.words(rng, 12)], [(0, 1)]),
        ([1, 2], [half + tiny.words(rng, 5), half + tiny.words(rng, 9), tiny.words(rng, 3)], [(0, 1), (2, 1)]),
        ([], [tiny.words(rng, 4), tiny.words(rng, 5)], [(0, 1)]),
    ]
    groups = []
    for index, (which, responses, pairs) in enumerate(shapes):
        base = tiny.group(f"q{index}", responses, pairs, images=0)
        groups.append(Group(base.question_id, prompt(which), (), base.responses, base.pairs))
    assert_equal_to_plain(tiny.qwen2_5_vl, groups, [pictures(which) for which, _, _ in shapes])


def test_gradient_checkpointing_changes_nothing() -> None:
    groups, images = tiny.several_groups()
    grads = []
    for checkpointing in (False, True):
        model = tiny.internvl().train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        weighted(PrefixSharedPolicy(model)(collate(groups, images)).responses).backward()
        grads.append(gradients(model))
    assert_same_gradients(grads[1], grads[0], 1e-6)


def test_each_image_is_encoded_once_however_many_pairs_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, images = tiny.several_groups()
    policy = PrefixSharedPolicy(tiny.internvl())
    seen: list[int] = []
    policy.bare.model.vision_tower.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    policy(collate(groups, images))
    assert seen == [4]  # one call, 1 + 2 + 1 tiles, for 7 pairs


def test_randomness_is_off_in_training_mode() -> None:
    model = tiny.internvl().train()
    for layer in model.model.vision_tower.encoder.layer:
        layer.dropout.p = 0.5
        layer.attention.attention_dropout = 0.5
    policy = PrefixSharedPolicy(model)
    batch = collate(*tiny.several_groups())
    assert torch.equal(policy(batch).responses, policy(batch).responses)


def test_a_group_scores_the_same_alone_and_packed() -> None:
    groups, images = tiny.several_groups()
    policy = PrefixSharedPolicy(tiny.internvl())
    packed = policy(collate(groups, images)).responses
    alone = torch.cat([policy(collate([g], [i])).responses for g, i in zip(groups, images, strict=True)])
    assert torch.allclose(packed, alone, atol=1e-4)


def test_release_gives_the_model_its_own_attention_back() -> None:
    model = tiny.internvl()
    ids = torch.tensor([[1, 2, 3, 4]])
    before = model(input_ids=ids).logits
    policy = PrefixSharedPolicy(model)
    with pytest.raises(TrainingError, match="release"):
        model(input_ids=ids)
    policy.release()
    assert torch.equal(model(input_ids=ids).logits, before)
    policy.take()
    assert policy(collate(*tiny.several_groups())).responses.isfinite().all()


def test_a_model_with_other_attention_keeps_its_own() -> None:
    model = tiny.internvl()
    before = model.model.language_model.config._attn_implementation
    model.model.language_model.config.layer_types = ["full_attention", "linear_attention"]
    policy = PrefixSharedPolicy(model)
    assert policy.why_plain == ["layers of type linear_attention"]
    assert model.model.language_model.config._attn_implementation == before
    policy.take()
    assert model.model.language_model.config._attn_implementation == before


def test_the_mpo_loss_of_a_batch_equals_the_loss_of_its_flat_pairs() -> None:
    groups, images = tiny.several_groups()
    policy = PrefixSharedPolicy(tiny.internvl())
    reference = PrefixSharedPolicy(tiny.internvl(seed=1))
    batch = collate(groups, images)
    with torch.no_grad():
        ref, scores = reference(batch).responses, policy(batch).responses
        packed = mpo(pair_log_probs(batch, scores, ref[batch.chosen], ref[batch.rejected])).total
        flat = []
        for group, inputs in zip(groups, images, strict=True):
            for pair in group.pairs:
                two = (group.responses[pair.chosen], group.responses[pair.rejected])
                alone = collate(
                    [tiny.group(group.question_id, list(two), [(0, 1)], images=len(group.images))], [inputs]
                )
                ref = reference(alone).responses
                flat.append(mpo(pair_log_probs(alone, policy(alone).responses, ref[:1], ref[1:])).total)
    assert torch.allclose(packed, torch.cat(flat), atol=1e-4)
