"""Any model of transformers: shared prefixes and the plain path give what transformers gives, by type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch, collate
from mmpr_pipeline.training.policy.families import family as families
from mmpr_pipeline.training.policy.families.family import CHECKED, Family
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from tests.training import zoo
from tests.training.policy.test_prefix_shared import assert_same_gradients, gradients, weighted
from tests.training.ranks import said_by_ranks


class Foreign(Family):
    """A family of another package."""


def expected(model: Any, name: str) -> Tensor:
    """(R,) by transformers alone."""
    groups, images = zoo.groups(name)
    separate = (zoo.separate(model, group, inputs) for group, inputs in zip(groups, images, strict=True))
    return torch.stack([tokens.sum() for responses in separate for tokens in responses])


def batch_of(name: str, **options: Any) -> PackedBatch:
    return collate(*zoo.groups(name), **options)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_shared_prefixes_equal_separate_forwards(name: str) -> None:
    plain_model, shared_model = zoo.model(name).train(), zoo.model(name).train()
    plain = expected(plain_model, name)
    policy = PrefixSharedPolicy(shared_model)
    assert policy.shares, policy.why_plain
    scores = policy(batch_of(name)).responses
    assert torch.allclose(scores, plain, rtol=0, atol=1e-4)
    weighted(plain).backward()
    weighted(scores).backward()
    assert_same_gradients(gradients(shared_model), gradients(plain_model), 1e-4)


@pytest.mark.parametrize("name", [*zoo.PLAIN, "llava", "smolvlm", "gemma3", "qwen3_vl_moe", "mistral3"])
@pytest.mark.parametrize("share", [True, False])
def test_the_plain_path_equals_separate_forwards(name: str, share: bool) -> None:
    model = zoo.model(name)
    want = expected(model, name)
    policy = PrefixSharedPolicy(model)
    if name in zoo.PLAIN:
        assert not policy.shares
    else:
        policy.give_up_sharing("for the test")
    scores = policy(batch_of(name, share=share))
    assert torch.allclose(scores.responses, want, rtol=0, atol=1e-4)
    weighted(scores.responses).backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in policy.family.vision(model).parameters())


def test_every_type_that_is_called_checked_is_in_the_zoo() -> None:
    assert {zoo.ZOO[name].model().config.model_type for name in zoo.ZOO} == CHECKED


@torch.no_grad()
def test_a_window_and_the_blocks_of_images_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo's Gemma would not notice a window or a block that is forgotten, if this were equal."""
    from mmpr_pipeline.training.policy.families.family import Gemma3

    model = zoo.model("gemma3")
    want = expected(model, "gemma3")
    monkeypatch.setattr(Gemma3, "attention_inputs", lambda self, model, batch: {})
    assert float((PrefixSharedPolicy(model)(batch_of("gemma3")).responses - want).abs().max()) > 0.01
    model = zoo.model("llava, sliding windows")
    want = expected(model, "llava, sliding windows")
    model.config.text_config.sliding_window = None
    assert float((PrefixSharedPolicy(model)(batch_of("llava")).responses - want).abs().max()) > 0.01


@pytest.mark.parametrize("name", [*zoo.ZOO, *zoo.PLAIN])
def test_a_blank_image_passes_every_part_that_a_real_one_passes(name: str) -> None:
    """A sharded part that one rank leaves out makes the others wait for ever."""
    model = zoo.model(name)
    policy = PrefixSharedPolicy(model)
    encoding = {**dict(policy.family.vision(model).named_parameters(prefix="vision"))}
    encoding |= dict(policy.family.projector(model).named_parameters(prefix="projector"))
    weighted(policy(batch_of(name)).responses).backward()
    used = {part for part, value in encoding.items() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    policy.family.features(model, zoo.blank(name)).backward()
    assert used == {part for part, value in encoding.items() if value.grad is not None}
    assert used


@pytest.mark.parametrize("name", ["internvl, qwen2", "qwen2_5_vl", "glm4v", "gemma3"])
def test_image_tokens_are_counted_where_the_inputs_say_them(name: str) -> None:
    model = zoo.model(name)
    policy = PrefixSharedPolicy(model)
    groups, images = zoo.groups(name)
    for group, inputs in zip(groups, images, strict=True):
        assert policy.family.image_tokens(model, inputs) == group.prompt.count(zoo.IMAGE)


def test_a_foreign_family_is_found_by_its_type() -> None:
    families.FAMILIES.add("brand_new", Foreign, "1.0")
    model = zoo.model("llava")
    model.config.model_type = "brand_new"
    assert type(PrefixSharedPolicy(model).family) is Foreign


def test_the_experts_load_is_transformers_own() -> None:
    name = "qwen3_vl_moe"
    model = zoo.model(name)
    model.config.text_config.router_aux_loss_coef = 0.01
    groups, images = zoo.groups(name)
    policy = PrefixSharedPolicy(model)
    policy.give_up_sharing("for the test")
    batch = collate(groups[2:], images[2:])
    width = max(len(groups[2].prompt + r) for r in groups[2].responses)
    rows = [list(groups[2].prompt + r) for r in groups[2].responses]
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    own = model(input_ids=ids, attention_mask=mask, output_router_logits=True).aux_loss
    found = policy(batch).imbalance
    assert found is not None
    assert torch.allclose(found, own, atol=1e-6)
    assert float(own) > 2.0  # uneven


@pytest.mark.parametrize("kind", ["none", "full", "matmuls"])
@pytest.mark.parametrize("name", ["qwen3_vl_moe", "internvl, qwen3_moe"])
def test_experts_learn_to_share_their_load_whatever_is_recomputed(name: str, kind: Any) -> None:
    from mmpr_pipeline.training.policy.layers import set_checkpointing

    grads = []
    for recompute in ("none", kind):
        model = zoo.model(name).train()
        policy = PrefixSharedPolicy(model)
        set_checkpointing(model, recompute)
        found = policy(batch_of(name)).imbalance
        assert found is not None
        found.backward()
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert any("gate.weight" in n and bool(g.any()) for n, g in grads[0].items())
    for n, g in grads[0].items():
        assert torch.allclose(grads[1][n], g, atol=1e-6), n


@pytest.mark.slow
@pytest.mark.campaign
def test_sharded_over_two_ranks_of_which_one_has_no_image() -> None:
    """Deepstack, projectors within and beside the tower, newlines, images of any size, experts, the plain path."""
    names = ["qwen3_vl_moe", "llava_onevision", "mistral3", "smolvlm", "gemma3", "glm4v", "aya_vision"]
    assert said_by_ranks(names, "tests.training.policy.families_worker").count("equal") == 2 * len(names)


def test_flops_count_the_experts_that_a_token_takes() -> None:
    """Against torch's own counter on the dense parts, and against arithmetic on the experts."""
    from mmpr_pipeline.training.run.device import forward_flops, shape_of

    model = zoo.model("internvl, qwen3_moe")
    shape, batch = shape_of(model, PrefixSharedPolicy(model).family), batch_of("internvl, qwen3_moe")
    experts = [p for n, p in model.named_parameters() if ".experts." in n]
    assert shape.idle_experts == sum(p.numel() for p in experts) * 4 // 6  # two of six are taken
    dense = forward_flops(replace(shape, idle_experts=0), batch)
    assert dense - forward_flops(shape, batch) == 2.0 * shape.idle_experts * batch.tokens


@pytest.mark.parametrize("name", ["internvl, qwen2", "llava", "qwen3_vl", "gemma3", "smolvlm"])
def test_flops_are_those_that_torch_counts(name: str) -> None:
    """Less attention, which torch's counter does not see on the CPU, so that ours are a little more."""
    from torch.utils.flop_counter import FlopCounterMode

    from mmpr_pipeline.training.run.device import forward_flops, shape_of

    model = zoo.model(name)
    policy, batch = PrefixSharedPolicy(model), batch_of(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        policy(batch)
    ours = forward_flops(shape_of(model, policy.family), batch)
    assert 1.0 < ours / counter.get_total_flops() < 1.2
