"""Norms and gated MLPs of the language model in one kernel each, where a GPU is: eager ones read and write memory in
every small step. By Liger's kernels where they are installed, else compiled by torch; eager on a CPU.

Only what is known is replaced: RMSNorms of Llama's kind (x / rms(x) in float32, rounded, times the weight), and MLPs
down(silu(gate(x)) * up(x)). Each class is first compared with its own forward and gradients. `recompute` tiles on top.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Notify = Callable[[str], None]
GATED = ("gate_proj", "up_proj", "down_proj")
TOLERANCE = {torch.bfloat16: 0.03, torch.float16: 0.01, torch.float32: 1e-4}
"""Rounding: largest difference over largest value."""


@dataclass(frozen=True)
class FusedKernels:
    """`norm(x, weight, eps)` and `gate(a, b)` = silu(a) * b, under a name for people and run.json."""

    name: str
    norm: Callable[[Tensor, Tensor, float], Tensor]
    gate: Callable[[Tensor, Tensor], Tensor]


def rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Zhang and Sennrich 2019, arXiv 1910.07467, rounded where Llama rounds. (..., D) -> (..., D)"""
    wide = hidden.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(hidden.dtype)


def silu_times(gate: Tensor, up: Tensor) -> Tensor:
    """The middle of a gated MLP, (..., D)."""
    return F.silu(gate) * up


@cache
def compiled_kernels() -> FusedKernels:
    """By torch.compile, once for all lengths: every micro-batch has another."""
    return FusedKernels("compiled", torch.compile(rms_norm, dynamic=True), torch.compile(silu_times, dynamic=True))


@cache
def liger_kernels() -> FusedKernels | None:
    """Liger's (Hsu et al. 2024, arXiv 2410.10989), None where it is not installed."""
    if importlib.util.find_spec("liger_kernel") is None:
        return None
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    norm: Any = LigerRMSNormFunction.apply
    offset, in_place = 0.0, False
    return FusedKernels(
        "Liger",
        lambda hidden, weight, eps: norm(hidden, weight, eps, offset, "llama", in_place),
        LigerSiLUMulFunction.apply,
    )


def fuse(language: nn.Module, device: torch.device, dtype: torch.dtype, notify: Notify | None = None) -> str:
    """Fuse a language model's norms and MLPs as far as `device` runs them; gives the name of the kernels, or `eager`.

    Weights, names and copies stay what they are: by class, as `recompute.tile`. To be called before layers are sharded.
    """
    if device.type != "cuda":
        return "eager"
    for kernels in filter(None, (liger_kernels(), compiled_kernels())):
        trouble = fuse_by(kernels, language, device, dtype)
        if not trouble:
            return kernels.name
        if notify:
            notify(f"fused layers: {kernels.name} cannot be used here: {trouble}")
    return "eager"


def fuse_by(kernels: FusedKernels, language: nn.Module, device: torch.device, dtype: torch.dtype) -> str:
    """Fuse each class of layers that `kernels` compute alike; the others stay. Gives what is wrong where a kernel
    fails, or nothing could be fused: then every layer is as it was."""
    by_class: dict[type, list[nn.Module]] = {}
    for module in language.modules():
        if _is_norm(module) or _is_mlp(module):
            by_class.setdefault(type(module), []).append(module)
    fused: dict[type, type] = {}
    for kind, modules in by_class.items():
        base = FusedNorm if _is_norm(modules[0]) else FusedMLP
        made = type(f"Fused{kind.__name__}", (base, kind), {"kernels": kernels})
        try:
            if _apart(modules[0], made, device, dtype) < TOLERANCE[dtype]:
                fused[kind] = made
        except Exception as error:  # a kernel that does not compile fails in its own ways
            return f"{type(error).__name__}: {str(error)[:300]}"
    for kind, made in fused.items():
        for module in by_class[kind]:
            module.__class__ = made
    return "" if fused else "no layer is of a known kind"


class FusedNorm(nn.Module):
    """x / rms(x) * weight; in front of a layer's own class in the order of method resolution, as `FusedMLP`."""

    kernels: FusedKernels

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.kernels.norm(hidden, self.get_parameter("weight"), _eps(self))


class FusedMLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    kernels: FusedKernels

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., T, D) -> (..., T, D)."""
        gate, up, down = (self.get_submodule(name) for name in GATED)
        result: Tensor = down(self.kernels.gate(gate(hidden), up(hidden)))
        return result


def _eps(norm: nn.Module) -> float:
    value = getattr(norm, "variance_epsilon", None)
    return float(getattr(norm, "eps", 0.0) if value is None else value)


def _is_norm(module: nn.Module) -> bool:
    names = [name for name, _ in module.named_parameters()]
    return "RMSNorm" in type(module).__name__ and names == ["weight"] and _eps(module) > 0


def _is_mlp(module: nn.Module) -> bool:
    children = {name for name, _ in module.named_children()}
    activation = type(getattr(module, "act_fn", None)).__name__
    return children == {*GATED, "act_fn"} and "silu" in activation.lower()


def _apart(module: nn.Module, kind: type, device: torch.device, dtype: torch.dtype) -> float:
    """How far a layer of `kind` is from the module's own results and gradients, relative to the largest: with random
    weights, in two lengths, as a checkpoint computes it again."""
    eager = copy.deepcopy(module).to_empty(device=device).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in eager.parameters():
            values = torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5
            parameter.copy_(values)
    quick = copy.deepcopy(eager)
    quick.__class__ = kind
    width = next(p.shape[-1] for p in eager.parameters())
    worst = 0.0
    for length in (33, 70):
        hidden = torch.randn(1, length, width, generator=generator).to(device, dtype)
        results: list[list[Tensor]] = []
        for layer in (eager, quick):
            own = hidden.clone().requires_grad_()
            with torch.enable_grad():
                out = checkpoint(layer, own, use_reentrant=False)
                grads = torch.autograd.grad(out.float().square().sum(), [own, *layer.parameters()])
            results.append([t.float() for t in (out.detach(), *grads)])
        for a, b in zip(*results, strict=True):
            worst = max(worst, float((a - b).abs().max() / a.abs().max().clamp(min=1e-20)))
    return worst
