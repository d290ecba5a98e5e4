"""Layers of a transformers model, computed otherwise by class: weights, names and copies stay what they are.

What a forward keeps for its backward, memory against time:

none       everything autograd asks for
matmuls    the results of matrix products and attention; the cheap rest (norms, activations, rotations, products)
           is computed again: about half of the memory for a few percent of time
full       each layer's input only; every layer is computed twice, a third more time, its MLP tile by tile

And norms and gated MLPs of the language model in one kernel each, where a GPU is: eager ones read and write memory in
every small step. By Liger's kernels where they are installed, else compiled by torch; eager on a CPU. Only what is
known is replaced: RMSNorms of Llama's kind (x / rms(x) in float32, rounded, times the weight), and MLPs
down(silu(gate(x)) * up(x)). Each class is first compared with its own forward and gradients.
"""

from __future__ import annotations

import copy
import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.policy.families.family import family_of

GATED = ("gate_proj", "up_proj", "down_proj")
Checkpointing = Literal["none", "matmuls", "full"]
Recompute = Literal["auto", "none", "matmuls", "full"]

TILES = 4
SMALLEST = 256  # tokens; below, products are too small to be quick
_KEPT_NAMES = (
    "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.convolution",
    "aten._scaled_dot_product_flash_attention", "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_efficient_attention", "aten._scaled_dot_product_cudnn_attention",
    "aten._flash_attention_forward", "flex_attention",
)  # fmt: skip
_here = threading.local()  # CUDA runs backwards, and so recomputation, in threads of its own


def set_checkpointing(model: Any, kind: Checkpointing, vision: Checkpointing | None = None) -> None:
    """Set what the layers of a bare transformers model keep while training; those of its vision tower `vision`, where
    that is another kind.

    Raises ConfigError for an unknown kind, or a model without support.
    """
    kinds = (kind, vision or kind)
    if any(each not in ("none", "matmuls", "full") for each in kinds):
        raise ConfigError(f"Unknown checkpointing {kind!r}, {vision!r}.", remedy="Use none, matmuls or full.")
    if set(kinds) != {"none"} and not getattr(model, "supports_gradient_checkpointing", False):
        raise ConfigError("This model cannot recompute its layers.", remedy="Set checkpointing to none.")
    for part, kept in zip((model, family_of(model).vision(model)), kinds, strict=True):
        tile(part, kept == "full")
        contexts = partial(create_selective_checkpoint_contexts, _keep) if kept == "matmuls" else _whole
        # Nothing in a layer is random: keeping the generators' state would cost a copy from the device a layer.
        run = partial(checkpoint, use_reentrant=False, context_fn=contexts, preserve_rng_state=False)
        for module in part.modules():  # as transformers' own switch does to every layer
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = kept != "none"
                module._gradient_checkpointing_func = run


def _whole() -> Any:
    return nullcontext(), recomputing()


def _keep(context: Any, operator: Any, *args: Any, **kwargs: Any) -> Any:
    name = str(operator).rsplit(".", 1)[0] if isinstance(operator, torch._ops.OpOverload) else str(operator)
    return CheckpointPolicy.MUST_SAVE if name in _KEPT_NAMES else CheckpointPolicy.PREFER_RECOMPUTE


def tile(model: nn.Module, on: bool) -> None:
    """Switch tiling of every gated MLP on or off, by class: parameters, names and copies stay what they are."""
    for module in model.modules():
        if on and not isinstance(module, Tiled) and all(hasattr(module, name) for name in GATED):
            kind: Any = type(module)
            module.__class__ = _tiled(kind)
        elif not on and isinstance(module, Tiled):
            module.__class__ = type(module).__mro__[2]


@cache
def _tiled(kind: Any) -> type:
    return type(f"Tiled{kind.__name__}", (Tiled, kind), {})


class Tiled(nn.Module):
    """A gated MLP whose wide middle is never alive for all tokens at once; in front of the MLP's own class in the order
    of method resolution.

    With whole-layer checkpointing, what is left at the peak is one layer computed again, and most of that is the MLP:
    four tensors three to four times as wide as the model, and their gradients. An MLP works on each token alone, so it
    can be run on a quarter of the tokens at a time, in the backward too, to the same result and at the same number of
    FLOPs: inside a layer that is computed again for its backward, the forward is skipped (its result would only be
    added to the residual stream, which no backward of the layer reads) and each tile is computed once, right before its
    own backward. Bekman et al. 2025, "Arctic Long Sequence Training", arXiv 2506.13996.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., T, D) -> (..., T, D), as the MLP's own forward."""
        run = super().forward
        if not torch.is_grad_enabled():
            return _by_tiles(run, hidden)
        apply: Any = _TiledRun.apply  # untyped in torch
        result: Tensor = apply(run, hidden, *_trained(self))
        return result


@contextmanager
def recomputing() -> Iterator[None]:
    """Around the second forward of a checkpointed layer, in which the results of its MLP are not read."""
    _here.recomputing = True
    try:
        yield
    finally:
        _here.recomputing = False


class _TiledRun(torch.autograd.Function):
    """Keeps the input; its backward runs each tile forward and backward."""

    @staticmethod
    def forward(ctx: Any, run: Any, hidden: Tensor, *trained: Tensor) -> Tensor:
        # The autocast of now, for the backward, which runs outside of it.
        kind = hidden.device.type
        cast = torch.is_autocast_enabled(kind)
        ctx.autocast = torch.autocast(kind, torch.get_autocast_dtype(kind)) if cast else nullcontext()
        ctx.run = run
        ctx.save_for_backward(hidden)
        if getattr(_here, "recomputing", False):
            return torch.full_like(hidden, torch.nan)  # if it were read after all, the step would stop by name
        return _by_tiles(run, hidden.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (hidden,), (grad,) = ctx.saved_tensors, grads
        trained = _trained(ctx.run.__self__)
        need_hidden = ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        sums: list[Tensor] = []
        start = 0
        for part in _tiles(hidden):
            size = part.shape[-2]
            part = part.detach().requires_grad_(need_hidden)
            with torch.enable_grad(), ctx.autocast:
                out = ctx.run(part.view_as(part))  # no leaf: module hooks of profilers refuse leaves
            found = torch.autograd.grad(out, [*([part] if need_hidden else []), *trained], grad.narrow(-2, start, size))
            del out
            if grad_hidden is not None:
                grad_hidden.narrow(-2, start, size).copy_(found[0])
            of_weights = found[1:] if need_hidden else found
            sums = [total.add_(more) for total, more in zip(sums, of_weights, strict=True)] if sums else [*of_weights]
            start += size
        return (None, grad_hidden, *sums)


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _tiles(hidden: Tensor) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = hidden.split(max(SMALLEST, -(-hidden.shape[-2] // TILES)), -2)
    return parts


def _by_tiles(run: Any, hidden: Tensor) -> Tensor:
    return torch.cat([run(part) for part in _tiles(hidden)], -2)


Notify = Callable[[str], None]
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
