from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.batch import Backend, SharedLayout, layout_of
from mmpr_pipeline.training.data.groups import PrefixTree, Segment
from mmpr_pipeline.training.policy import kernels
from mmpr_pipeline.training.policy.kernels import shared_attention


def random_tree(rng: random.Random, segments: int) -> PrefixTree:
    """A random tree in depth-first order."""
    made = [Segment(-1, (0,) * rng.randrange(1, 30))]
    path = [0]
    for index in range(1, segments):
        path = path[: rng.randrange(1, len(path) + 1)]
        made.append(Segment(path[-1], (0,) * rng.randrange(1, 25)))
        path.append(index)
    return PrefixTree(tuple(made), ())


def visible(trees: list[PrefixTree]) -> Tensor:
    """The definition, token by token: (T, T), from the tree and nothing else."""
    owner = [(t, s) for t, tree in enumerate(trees) for s, seg in enumerate(tree.segments) for _ in seg.tokens]
    mask = torch.zeros(len(owner), len(owner), dtype=torch.bool)
    for q, (tree, segment) in enumerate(owner):
        above = {(tree, segment)}
        while (segment := trees[tree].segments[segment].parent) >= 0:
            above.add((tree, segment))
        for k in range(q + 1):
            mask[q, k] = owner[k] in above
    return mask


def setting(seed: int) -> tuple[list[PrefixTree], SharedLayout, list[Tensor], Tensor]:
    """Trees, their layout, leaf inputs with 4 query and 2 key heads, and the expected output."""
    rng = random.Random(seed)
    trees = [random_tree(rng, n) for n in (1, 7, 4)]
    layout = layout_of(trees)
    length = sum(tree.tokens for tree in trees)
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(1, heads, length, 16, generator=generator).requires_grad_() for heads in (4, 2, 2)]
    keys, values = (t.repeat_interleave(2, 1) for t in inputs[1:])
    expected = F.scaled_dot_product_attention(inputs[0], keys, values, visible(trees), scale=0.3).transpose(1, 2)
    return trees, layout, inputs, expected


def reference_varlen(query: Tensor, keys: Tensor, values: Tensor, layout: SharedLayout, scale: float) -> Tensor:
    """FlashAttention's variable-length contract, causal at the bottom right, sequence by sequence."""
    out = []
    bounds = zip(*(b.tolist() for b in (layout.query_bounds, layout.key_bounds)), strict=True)
    previous = next(bounds)
    for now in bounds:
        q = query[previous[0] : now[0]].transpose(0, 1)
        k, v = (t[previous[1] : now[1]].transpose(0, 1).repeat_interleave(2, 0) for t in (keys, values))
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        out.append(F.scaled_dot_product_attention(q, k, v, mask, scale=scale).transpose(0, 1))
        previous = now
    return torch.cat(out)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("backend", ["sdpa", "varlen"])
def test_a_backend_computes_the_trees_attention_and_gradients(
    backend: Backend, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "flash_varlen", reference_varlen)
    _, layout, inputs, expected = setting(seed)
    ours, _ = shared_attention(torch.nn.Module(), *inputs, None, scaling=0.3, shared=layout.to("cpu", backend))  # type: ignore[call-arg]
    assert torch.allclose(ours, expected, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for a, b in zip(*(torch.autograd.grad((o * weights).sum(), inputs) for o in (ours, expected)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_flex_computes_the_trees_attention(seed: int) -> None:
    _, layout, inputs, expected = setting(seed)
    frozen = [t.detach() for t in inputs]  # no backward on the CPU
    ours, _ = shared_attention(torch.nn.Module(), *frozen, None, scaling=0.3, shared=layout.to("cpu", "flex"))  # type: ignore[call-arg]
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_reading_by_token_is_the_definition(seed: int) -> None:
    trees, layout, _, _ = setting(seed)
    index = torch.arange(len(layout.seen_until))
    by_token = (index[None] <= index[:, None]) & (index[:, None] < layout.seen_until[None])
    assert torch.equal(by_token, visible(trees))


def call(**changes: Any) -> None:
    _, layout, inputs, _ = setting(0)
    shared_attention(torch.nn.Module(), *inputs, None, shared=layout, **changes)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["softcap", "s_aux"])
def test_attention_that_is_not_computed_is_refused(name: str) -> None:
    call(**{name: None})
    with pytest.raises(ConfigError, match=name):
        call(**{name: 5})


def test_a_cache_is_refused() -> None:
    _, layout, (query, key, value), _ = setting(0)
    with pytest.raises(ConfigError, match="cache"):
        shared_attention(torch.nn.Module(), query[:, :, -1:], key, value, None, shared=layout)


def test_the_cpu_takes_sdpa_and_a_wish_that_fails_is_refused() -> None:
    cpu = torch.device("cpu")
    assert kernels.choose_backend(cpu, torch.float32) == "sdpa"
    assert kernels.choose_backend(cpu, torch.float32, "sdpa") == "sdpa"
    with pytest.raises(ConfigError, match="flex"):
        kernels.choose_backend(cpu, torch.float32, "flex")


def test_a_kernel_with_its_diagonal_at_the_top_left_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def top_left(query: Tensor, keys: Tensor, values: Tensor, layout: SharedLayout, scale: float) -> Tensor:
        out = []
        for (start, end), k0 in zip(layout.queries, layout.key_bounds.tolist(), strict=False):
            q = query[start:end].transpose(0, 1)
            k, v = (t[k0 : k0 + end - start].transpose(0, 1).repeat_interleave(2, 0) for t in (keys, values))
            out.append(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale).transpose(0, 1))
        return torch.cat(out)

    cpu = torch.device("cpu")
    monkeypatch.setattr(kernels, "flash_varlen", reference_varlen)
    assert kernels.choose_backend(cpu, torch.float32, "varlen") == "varlen"
    monkeypatch.setattr(kernels, "flash_varlen", top_left)
    with pytest.raises(ConfigError, match="differs from SDPA"):
        kernels.choose_backend(cpu, torch.float32, "varlen")


@torch.no_grad()
def test_a_kernel_is_judged_by_its_gradients_even_where_the_first_forward_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run begins with the reference's forward: the choice made there is kept."""
    monkeypatch.setattr(kernels, "flash_varlen", reference_varlen)
    assert kernels.choose_backend(torch.device("cpu"), torch.float32, "varlen") == "varlen"


def test_fsdp_hands_every_layer_the_same_layout() -> None:
    """Its cast of a layer's inputs rebuilds dataclasses: each layer would make the masks of its own copy again."""
    from torch.distributed.utils import _apply_to_tensors

    layout = layout_of([random_tree(random.Random(0), 3)])
    assert _apply_to_tensors(lambda tensor: tensor.clone(), {"shared": layout})["shared"] is layout


def test_flash_attention_is_called_as_its_operator_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the schema of the installed PyTorch; the operator itself runs on GPUs only."""
    layout, (query, key, value) = setting(0)[1:3]
    schema = torch.ops.aten._flash_attention_forward.default._schema
    given: list[Any] = []

    def declared(*args: Any, **kwargs: Any) -> tuple[Tensor]:
        names = [argument.name for argument in schema.arguments]
        given.append({**dict(zip(names, args, strict=False)), **kwargs})
        assert set(given[0]) <= set(names)
        assert len(args) == sum(not argument.kwarg_only for argument in schema.arguments)
        q, k, v = args[:3]
        return (reference_varlen(q, k, v, layout, kwargs["scale"]),)

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", declared)
    layout.backend = "varlen"
    found, _ = shared_attention(None, query, key, value, None, scaling=0.3, shared=layout)
    assert given[0]["is_causal"] is True
    assert given[0]["dropout_p"] == 0.0
    torch.testing.assert_close(found, setting(0)[3])


def test_the_installed_operator_takes_a_layout_and_gives_gradients() -> None:
    """Its own shapes and derivative, on tensors without memory."""
    layout = setting(0)[1].to("meta", "varlen")
    made = [
        torch.empty(1, heads, layout.queries[-1][1], 64, device="meta", dtype=torch.bfloat16) for heads in (4, 2, 2)
    ]
    query, key, value = (tensor.requires_grad_() for tensor in made)
    out, _ = shared_attention(None, query, key, value, None, scaling=0.125, shared=layout)
    assert (out.shape, out.dtype) == ((1, query.shape[2], 4, 64), torch.bfloat16)
    out.sum().backward()
    assert [t.grad.shape for t in (query, key, value) if t.grad is not None] == [t.shape for t in made]


def test_what_is_refused_is_said() -> None:
    said: list[str] = []
    with pytest.raises(ConfigError):
        kernels.choose_backend(torch.device("cpu"), torch.float32, "varlen", said.append)
    assert "varlen cannot be used here" in said[0]
