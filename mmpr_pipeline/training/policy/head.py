"""Log-probs of target tokens from hidden states, without ever holding the logits of more than a few hundred tokens.

The full logits of one 8B-model micro-batch (4,000 tokens x 150,000 words, fp32) are 2.4 GB, and autograd keeps two or
three tensors of that size. Here only the positions that predict response tokens come in, in chunks; the forward keeps
one number a token (the log of the normaliser) and the backward computes each chunk's logits again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 64 << 20  # fp32 logits alive at a time; on a GPU larger chunks keep the matmuls busy
CHUNK_BYTES_GPU = 512 << 20


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor, chunk_bytes: int | None = None) -> Tensor:
    """log softmax(hidden @ weight.T)[targets]: hidden (N, D), weight (V, D), targets (N,) -> (N,) float32."""
    if chunk_bytes is None:
        chunk_bytes = CHUNK_BYTES_GPU if hidden.is_cuda else CHUNK_BYTES
    rows = max(1, chunk_bytes // (4 * weight.shape[0]))
    apply: Any = _TokenLogProbs.apply  # untyped in torch
    result: Tensor = apply(hidden, weight, targets, rows)
    return result


class _TokenLogProbs(torch.autograd.Function):
    """With z the logits and g the incoming gradient: d/dz = g (one-hot(target) - softmax(z))."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int) -> Tensor:
        normaliser = hidden.new_empty(len(targets), dtype=torch.float32)
        picked = torch.empty_like(normaliser)
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            logits = product(hidden[part], weight.T)
            normaliser[part] = logits.logsumexp(-1)
            picked[part] = logits.gather(1, targets[part, None])[:, 0]
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        ctx.rows = rows
        return picked - normaliser

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, targets, normaliser = ctx.saved_tensors
        (grad,) = grads
        need_hidden, need_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        # Summed in fp32 over the chunks, as one large matmul would.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if need_weight else None
        for start in range(0, len(targets), ctx.rows):
            part = slice(start, start + ctx.rows)
            upstream = grad[part, None].float()
            logits = product(hidden[part], weight.T)
            wanted = logits.sub_(normaliser[part, None]).exp_().mul_(-upstream)
            wanted.scatter_add_(1, targets[part, None], upstream)
            slope = wanted.to(weight.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = slope @ weight
            if grad_weight is not None:
                # total += slope.T @ hidden, in place where the types allow it.
                if slope.dtype == torch.float32:
                    grad_weight.addmm_(slope.T, hidden[part])
                else:
                    grad_weight += product(slope.T, hidden[part])
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b as float32, whatever their type: rounded to bfloat16 logits of 16 to 32 would be 0.125 apart.

    A GPU's matrix units sum in float32 anyway; they are only asked not to round the result.
    """
    if a.dtype == torch.float32:
        return a @ b
    if a.is_cuda:
        result: Tensor = torch.mm(a, b, out_dtype=torch.float32)  # PyTorch 2.8 and newer
        return result
    return a.float() @ b.float()
