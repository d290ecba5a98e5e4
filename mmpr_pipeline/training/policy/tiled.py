"""Feed-forward layers tile by tile: the wide middle of a gated MLP is never alive for all tokens at once.

With whole-layer checkpointing, what is left at the peak is one layer computed again, and most of that is the MLP: four
tensors three to four times as wide as the model, and their gradients. An MLP works on each token alone, so it can be
run on a quarter of the tokens at a time, in the backward too, to the same result and at the same number of FLOPs:
inside a layer that is computed again for its backward, the forward is skipped (its result would only be added to the
residual stream, which no backward of the layer reads) and each tile is computed once, right before its own backward.

Tiling an MLP over the sequence: Bekman et al. 2025, "Arctic Long Sequence Training", arXiv 2506.13996.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

TILES = 4
SMALLEST = 256  # tokens; below, products are too small to be quick
_GATED = ("gate_proj", "up_proj", "down_proj")
_here = threading.local()  # CUDA runs backwards, and so recomputation, in threads of its own


def tile(model: nn.Module, on: bool) -> None:
    """Switch tiling of every gated MLP on or off, by class: parameters, names and copies stay what they are."""
    for module in model.modules():
        if on and not isinstance(module, Tiled) and all(hasattr(module, name) for name in _GATED):
            kind = type(module)
            if kind not in _CLASSES:
                _CLASSES[kind] = type(f"Tiled{kind.__name__}", (Tiled, kind), {})
            module.__class__ = _CLASSES[kind]
        elif not on and isinstance(module, Tiled):
            module.__class__ = type(module).__mro__[2]


class Tiled(nn.Module):
    """In front of an MLP's own class in the order of method resolution."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., T, D) -> (..., T, D), as the MLP's own forward."""
        run = super().forward
        if not torch.is_grad_enabled():
            return _by_tiles(run, hidden)
        apply: Any = _TiledRun.apply  # untyped in torch
        result: Tensor = apply(run, hidden, *_trained(self))
        return result


_CLASSES: dict[type, type] = {}


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
        for part in hidden.split(_tile_size(hidden), -2):
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


def _tile_size(hidden: Tensor) -> int:
    return int(max(SMALLEST, -(-hidden.shape[-2] // TILES)))


def _by_tiles(run: Any, hidden: Tensor) -> Tensor:
    return torch.cat([run(part) for part in hidden.split(_tile_size(hidden), -2)], -2)
