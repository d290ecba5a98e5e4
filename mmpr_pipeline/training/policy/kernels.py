"""What is computed otherwise than in transformers: attention of shared prefixes, and log-probs without whole logits.

Attention is a function of transformers' registry, by one of several kernels.

transformers hands every attention layer's query, key and value to a function looked up by name, together with any
extra keyword of the model's forward. So no model is patched: ours is registered under `NAME`, and a `SharedLayout`
rides along as `shared=`. Masks need no building either: for a name without a mask function transformers builds none.

sdpa     segment by segment; any device, with gradients
varlen   all segments in one variable-length FlashAttention call (GPU, half precision)
flex     flex_attention with a block mask (GPU; on the CPU forward only)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.batch import Backend, SharedLayout, layout_of
from mmpr_pipeline.training.data.groups import PrefixTree, Segment

NAME = "mmpr_shared_prefix"


def shared_attention(
    module: torch.nn.Module | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared: SharedLayout | None = None,
    sliding_window: int | None = None,
    blocks: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered function. query (1, H, T, D), key and value (1, H_kv, T, D) -> (1, T, H, D), no weights.

    With `sliding_window`, a token sees itself and those before it on its path (prompt, segments above, its own), that
    many in all, as in a sequence of its own; with `blocks` (T,) besides, within the window, every token of its own
    block (-1 is none): images of a prompt that see themselves whole. Both are computed segment by segment with masks,
    right on every device: FlashAttention computes neither on a tree with blocks. Raises TrainingError where the layout
    is missing (the model was called outside `PrefixSharedPolicy`), and ConfigError for attention that it does not
    compute: soft-capping, sinks, a cache.
    """
    if shared is None:
        raise TrainingError(
            "The model's attention is set to shared prefixes, and was called without a layout.",
            remedy="Score through PrefixSharedPolicy, or call its `release` before using the model otherwise.",
        )
    refused = [name for name in ("softcap", "s_aux") if kwargs.get(name) is not None]
    if refused or key.shape[2] != query.shape[2]:
        raise ConfigError(
            f"Prefix sharing does not compute attention with {', '.join(refused) or 'a cache'}.",
            remedy="Use a model without it.",
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if sliding_window is not None or blocks is not None:
        return _sdpa(query, key, value, shared, scale, sliding_window, blocks), None
    return _BACKENDS[shared.backend](query, key, value, shared, scale), None


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SharedLayout,
    scale: float,
    window: int | None = None,
    blocks: Tensor | None = None,
) -> Tensor:
    """Segment by segment: works, with gradients, wherever SDPA does."""
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    for number, ((start, end), path) in enumerate(zip(layout.queries, layout.keys, strict=True)):
        keys, values = (torch.cat([t[:, :, a:b] for a, b in path], 2) for t in (key, value))
        above, mask = keys.shape[2] - (end - start), None
        if above or window is not None or blocks is not None:
            # Kept for the other layers, and additive in the query's type: SDPA would make, and autograd keep, a copy of
            # a boolean one in every layer.
            name = (end - start, above, window, None if blocks is None else number)
            if name not in layout.masks:
                near = torch.ones(end - start, keys.shape[2], dtype=torch.bool, device=query.device)
                near = near if window is None else near.triu(above - window + 1)
                seen = near.tril(above)
                if blocks is not None:
                    own, others = blocks[start:end, None], torch.cat([blocks[a:b] for a, b in path])
                    seen |= near & (own == others) & (own >= 0)
                layout.masks[name] = torch.zeros_like(seen, dtype=query.dtype).masked_fill_(~seen, -torch.inf)
            cut = max(0, above + 1 - window) if window else 0  # keys before the first query's window
            keys, values, mask = keys[:, :, cut:], values[:, :, cut:], layout.masks[name][:, cut:]
        outputs.append(
            F.scaled_dot_product_attention(
                query[:, :, start:end], keys, values, mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
            ).transpose(1, 2)
        )
    return torch.cat(outputs, 1)  # contiguous as it is wanted: turned round after, it would be copied once more


def _varlen(query: Tensor, key: Tensor, value: Tensor, layout: SharedLayout, scale: float) -> Tensor:
    """All segments in one FlashAttention call; each segment's path of keys is gathered next to the others'."""
    # index_select: the backward of an indexing by a tensor would sort the index first.
    keys, values = (t[0].transpose(0, 1).index_select(0, layout.key_index) for t in (key, value))
    out = flash_varlen(query[0].transpose(0, 1).contiguous(), keys, values, layout, scale)
    return out.unsqueeze(0)


def _flex(query: Tensor, key: Tensor, value: Tensor, layout: SharedLayout, scale: float) -> Tensor:
    """One block-sparse kernel over the packed row (GPU; on the CPU forward only)."""
    from torch.nn.attention.flex_attention import create_block_mask

    length = query.shape[2]
    if "flex" not in layout.masks:
        until = layout.seen_until

        def visible(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (k <= q) & (q < until[k])

        layout.masks["flex"] = create_block_mask(visible, None, None, length, length, device=query.device.type)
    kernel: Any = _flex_kernel(query.is_cuda)
    grouped = query.shape[1] != key.shape[1]
    out = kernel(query, key, value, block_mask=layout.masks["flex"], scale=scale, enable_gqa=grouped)
    return out.transpose(1, 2)


@cache
def _flex_kernel(compiled: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=True) if compiled else flex_attention
    return kernel


def flash_varlen(query: Tensor, keys: Tensor, values: Tensor, layout: SharedLayout, scale: float) -> Tensor:
    """PyTorch's FlashAttention: query (T, H, D), keys and values (K, H_kv, D) -> (T, H, D), causal with the diagonal at
    the bottom right. GPUs only.

    The operator below `torch.nn.attention.varlen`, whose own face changed with each release (2.10 `is_causal`, 2.11
    `window_size`, 2.12 `enable_gqa`): this one takes the same arguments from 2.4 to 2.14, grouped heads included.
    """
    bounds = (layout.query_bounds, layout.key_bounds, layout.longest_query, layout.longest_key)
    dropout, causal, debug = 0.0, True, False
    flash: Any = torch.ops.aten._flash_attention_forward
    out: Tensor = flash(query, keys, values, *bounds, dropout, causal, debug, scale=scale)[0]
    return out


_BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, SharedLayout, float], Tensor]] = {
    "sdpa": _sdpa,
    "varlen": _varlen,
    "flex": _flex,
}


def choose_backend(
    device: torch.device, dtype: torch.dtype, wanted: Backend | None = None, notify: Callable[[str], None] | None = None
) -> Backend:
    """`wanted`, else the fastest that this device and type run: checked on a small example against plain SDPA.

    Kernels differ in where they put the causal diagonal when keys outnumber queries; a wrong one would train without
    an error, so a backend that does not agree is not used, and `notify` hears why. Raises ConfigError where `wanted`
    itself fails.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    candidates: list[Backend] = ["varlen", "flex"] if device.type == "cuda" and half else []
    if wanted:
        candidates = [wanted]
    for backend in candidates:
        trouble = "" if backend == "sdpa" else _disagreement(backend, device, dtype)
        if not trouble:
            return backend
        if notify:
            notify(f"attention: {backend} cannot be used here: {trouble}")
        if wanted:
            raise ConfigError(
                f"Attention backend {backend!r} cannot be used on {device.type} with {dtype}: {trouble}",
                remedy="Leave the backend unset, or use `sdpa`.",
            )
    return "sdpa"


def _disagreement(backend: Backend, device: torch.device, dtype: torch.dtype) -> str:
    """What is wrong with a backend on a small tree, forward and backward; empty where it agrees with SDPA."""
    parents_and_lengths = [(-1, 70), (0, 33), (1, 20), (1, 41), (0, 130)]
    tree = PrefixTree(tuple(Segment(p, (0,) * n) for p, n in parents_and_lengths), ())
    layout = layout_of([tree])
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 4, tree.tokens, 64), (1, 2, tree.tokens, 64), (1, 2, tree.tokens, 64)]
    inputs = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    results: list[list[Tensor]] = []  # of both: output and input gradients
    try:
        for each in (backend, "sdpa"):
            query, key, value = (t.clone().requires_grad_() for t in inputs)
            with torch.enable_grad():  # the first forward of a run may be the reference's
                out = _BACKENDS[each](query, key, value, layout.to(device, each), query.shape[-1] ** -0.5)
                grads = torch.autograd.grad(out.square().sum(), [query, key, value])
            results.append([t.float() for t in (out.detach(), *grads)])
    except Exception as error:  # a kernel that is absent, unsupported or not compilable fails in its own ways
        return f"{type(error).__name__}: {str(error)[:300]}"
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*results, strict=True))
    return "" if worst < 0.03 else f"differs from SDPA by {worst:.3f}, relative"


CHUNK_BYTES = 64 << 20  # fp32 logits alive at a time; on a GPU larger chunks keep the matmuls busy
CHUNK_BYTES_GPU = 512 << 20


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor, chunk_bytes: int | None = None) -> Tensor:
    """log softmax(hidden @ weight.T)[targets]: hidden (N, D), weight (V, D), targets (N,) -> (N,) float32.

    The full logits of one 8B-model micro-batch (4,000 tokens x 150,000 words, fp32) are 2.4 GB, and autograd keeps two
    or three tensors of that size. Here only the positions that predict response tokens come in, in chunks; the forward
    keeps one number a token (the log of the normaliser) and the backward computes each chunk's logits again.
    """
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
