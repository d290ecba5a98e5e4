"""Frozen weights in four bits: NF4 of QLoRA, in plain PyTorch, on any device.

Each block of 64 values is divided by its largest and rounded to the nearest of 16 levels, which are quantiles of a
normal distribution: 4.25 bits a weight. Dettmers et al. 2023, arXiv 2305.14314, section 3 and appendix E. A layer's
weights are made again for its forward and for its backward, and never kept. Packed weights are buffers: every rank has
them whole, and FSDP gathers nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 64
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def pack_nf4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight of a multiple of 64 values as (n / 2,) bytes of two levels, and the scale (n / 64,) of each block."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    scales = blocks.abs().amax(1).to(torch.bfloat16)
    levels = torch.tensor(LEVELS, device=weight.device)
    borders = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(blocks / scales.float().clamp(min=1e-30)[:, None], borders).flatten().to(torch.uint8)
    return codes[::2] << 4 | codes[1::2], scales


def unpack_nf4(packed: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """(n,) values of packed weights."""
    levels = torch.tensor(LEVELS, device=packed.device, dtype=dtype)
    pairs = torch.stack([levels.repeat_interleave(16), levels.repeat(16)], 1)  # both levels of a byte
    blocks = F.embedding(packed.int(), pairs).view(-1, BLOCK)
    return (blocks * scales.to(dtype)[:, None]).flatten()


class NF4Linear(nn.Module):
    """A frozen linear layer of packed weights; `load` gives it its values."""

    packed: Tensor
    scales: Tensor

    def __init__(self, like: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = like.in_features, like.out_features
        size, device = like.weight.numel(), like.weight.device
        # Not persistent: a checkpoint holds what is trained.
        self.register_buffer("packed", torch.empty(size // 2, dtype=torch.uint8, device=device), persistent=False)
        self.register_buffer(
            "scales", torch.empty(size // BLOCK, dtype=torch.bfloat16, device=device), persistent=False
        )
        self.bias = like.bias

    def load(self, weight: Tensor) -> None:
        """Take a weight (out, in), on whatever device."""
        packed, scales = pack_nf4(weight.to(self.packed.device))
        self.packed.copy_(packed)
        self.scales.copy_(scales)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the input's type."""
        apply: Any = _Product.apply  # untyped in torch
        out: Tensor = apply(hidden, self.packed, self.scales, (self.out_features, self.in_features))
        return out if self.bias is None else out + self.bias.to(out.dtype)


class _Product(torch.autograd.Function):
    """hidden @ W.T, keeping nothing of the size of W or of hidden."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, packed: Tensor, scales: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(packed, scales)
        ctx.shape = shape
        return F.linear(hidden, unpack_nf4(packed, scales, hidden.dtype).view(shape))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        packed, scales = ctx.saved_tensors
        return grad @ unpack_nf4(packed, scales, grad.dtype).view(ctx.shape), None, None, None


def quantise_base(model: nn.Module) -> None:
    """Put packed layers in the place of the linear ones below adapters of peft; the model may be without memory."""
    for module in list(model.modules()):
        base = getattr(module, "base_layer", None)
        if isinstance(base, nn.Linear) and hasattr(module, "lora_A") and base.weight.numel() % BLOCK == 0:
            module.base_layer = NF4Linear(base)
