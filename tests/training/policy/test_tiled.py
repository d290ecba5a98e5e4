from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.policy import layers as tiled
from mmpr_pipeline.training.policy.layers import set_checkpointing
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from tests.training import tiny

TOKENS = 1030  # no multiple of the number of tiles


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(8, 24), nn.Linear(8, 24)
        self.down_proj = nn.Linear(24, 8)
        self.seen: list[int] = []

    def forward(self, hidden: Tensor) -> Tensor:
        self.seen.append(hidden.shape[-2])
        out: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return out


def mlp() -> Mlp:
    torch.manual_seed(0)
    return Mlp()


def gradients(module: nn.Module, hidden: Tensor) -> list[Tensor]:
    out = module(hidden)
    out.square().sum().backward()
    return [
        out,
        *([hidden.grad] if hidden.grad is not None else []),
        *(p.grad for p in module.parameters() if p.grad is not None),
    ]


@pytest.mark.parametrize("shape", [(1, TOKENS, 8), (TOKENS, 8), (1, 3, 8)])
@pytest.mark.parametrize("frozen", [(), ("gate_proj",), ("gate_proj", "up_proj", "down_proj")])
@pytest.mark.parametrize("through", [True, False])
def test_results_and_gradients_are_those_of_the_whole(
    shape: tuple[int, ...], frozen: tuple[str, ...], through: bool
) -> None:
    if len(frozen) == 3 and not through:
        return  # nothing to learn
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = []
    for on in (False, True):
        module: Any = mlp()
        for name in frozen:
            getattr(module, name).requires_grad_(False)
        tiled.tile(module, on)
        found.append(gradients(module, values.clone().requires_grad_(through)))
    assert len(found[0]) == len(found[1]) == 1 + through + 2 * (3 - len(frozen))
    for whole, by_tiles in zip(*found, strict=True):
        torch.testing.assert_close(by_tiles, whole, rtol=1e-5, atol=1e-4)


def test_no_more_than_a_tile_is_wide_at_a_time_and_without_gradient_too() -> None:
    module = mlp()
    tiled.tile(module, True)
    gradients(module, torch.randn(1, TOKENS, 8, requires_grad=True))
    with torch.no_grad():
        module(torch.randn(1, TOKENS, 8))
    assert set(module.seen) == {258, 256}
    assert len(module.seen) == 3 * tiled.TILES


def test_in_a_recomputed_layer_the_forward_is_left_out_and_could_not_be_read_unnoticed() -> None:
    module = mlp()
    tiled.tile(module, True)
    hidden = torch.randn(1, TOKENS, 8, requires_grad=True)
    with tiled.recomputing():
        out = module(hidden)
    assert module.seen == []
    assert bool(out.isnan().all())
    out.backward(torch.ones_like(out))
    assert hidden.grad is not None
    assert bool(hidden.grad.isfinite().all())


def test_autocast_holds_in_the_backward() -> None:
    module = mlp()
    tiled.tile(module, True)
    hidden = torch.randn(1, TOKENS, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(hidden)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())


def test_a_copy_has_weights_of_its_own_and_off_puts_the_class_back() -> None:
    module = mlp()
    tiled.tile(module, True)
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.down_proj.weight.zero_()
        other.down_proj.bias.zero_()
        assert bool(other(torch.randn(1, 5, 8)).eq(0).all())
        assert not bool(module(torch.randn(1, 5, 8)).eq(0).any())
    tiled.tile(module, False)
    assert type(module) is Mlp


@pytest.mark.parametrize("text", ["qwen2", "llama"])
def test_a_model_by_tiles_has_the_gradients_of_the_model(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(tiled, "SMALLEST", 8)
    found = []
    for kind in ("none", "full"):
        policy = PrefixSharedPolicy(tiny.internvl(text).train())
        set_checkpointing(policy.bare, kind)  # type: ignore[arg-type]
        policy(collate(*tiny.several_groups())).responses.sum().backward()
        found.append({name: p.grad for name, p in policy.named_parameters() if p.grad is not None})
    assert set(found[0]) == set(found[1])
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-4, atol=1e-4)
