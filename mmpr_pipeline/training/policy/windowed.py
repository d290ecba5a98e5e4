"""Attention over a layout where more than causality bounds it: sliding windows, and images that see themselves whole.

A window counts along the path of a response (prompt, then the segments above, then its own), as it would in a sequence
of its own. Segment by segment with masks: right on every device; FlashAttention computes neither on a tree with blocks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpr_pipeline.training.data.tree_layout import SharedLayout


def attend_windowed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SharedLayout,
    scale: float,
    window: int | None,
    blocks: Tensor | None,
) -> Tensor:
    """Query (1, H, T, D), key and value (1, H_kv, T, D) -> (1, T, H, D).

    A token sees itself and the `window` - 1 before it on its path (all of them for None), and besides, within the
    window, every token of its own block: `blocks` (T,) numbers them, -1 is none. Blocks lie in prompts.
    """  # fmt: skip
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    for (start, end), path in zip(layout.queries, layout.keys, strict=True):
        total = sum(b - a for a, b in path)
        above = total - (end - start)
        cut = max(0, above + 1 - window) if window else 0  # keys before the first query's window
        at = torch.cat([torch.arange(a, b, device=key.device) for a, b in path])[cut:]
        keys, values = (t.index_select(2, at) for t in (key, value))
        # (length, above + length): causal with the diagonal at the bottom right, within the window.
        length = end - start
        seen_above = above - cut
        causal = torch.ones(length, seen_above + length, dtype=torch.bool, device=key.device).tril(seen_above)
        seen = causal & _within(length, seen_above, window, key.device)
        if blocks is not None:
            own = blocks[start:end, None]
            same = (own == blocks[at][None]) & (own >= 0)
            seen = (seen | (same & _within(end - start, above - cut, window, key.device))).contiguous()
        outputs.append(
            F.scaled_dot_product_attention(
                query[:, :, start:end], keys, values, seen, scale=scale, enable_gqa=grouped
            ).transpose(1, 2)
        )
    return torch.cat(outputs, 1)


def _within(length: int, above: int, window: int | None, device: torch.device) -> Tensor:
    """(length, above + length): not further back than the window; all of them without one."""
    whole = torch.ones(length, above + length, dtype=torch.bool, device=device)
    return whole if window is None else whole.triu(above - window + 1)
