"""What each token of a packed row of prefix trees may see: the layout that the attention kernels read.

Each segment of a tree attends to the segments above it, whole, and to itself, causally. In depth-first order the
tokens below a segment are one range right after it, hence two equal readings of the layout:

    by segment   the queries of one segment against the keys of its path, causal with the diagonal at the bottom right
    by token     key k is seen by query q when k <= q < end[k], end[k] the end of the range below k's segment
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from mmpr_pipeline.training.data.groups import PrefixTree

Backend = Literal["sdpa", "varlen", "flex"]
Span = tuple[int, int]


class SharedLayout:
    """Where the segments of a packed row lie and what each may see; built once for a micro-batch.

    No dataclass: FSDP rebuilds every dataclass among a layer's arguments when it casts them, and each layer would have
    a layout, and make its masks, of its own. `masks` holds what the layers of a forward share.

    `queries[i]` is the range of segment i; `keys[i]` the ranges of its path, itself last, neighbours merged.
    The tensors serve the GPU backends: `key_index` (K,) gathers the keys of all segments one after the other,
    `query_bounds` and `key_bounds` (S+1,) int32 are the cumulative lengths, `seen_until` (T,) is end[k] above.
    """

    def __init__(
        self, queries: tuple[Span, ...], keys: tuple[tuple[Span, ...], ...], key_index: Tensor, query_bounds: Tensor,
        key_bounds: Tensor, seen_until: Tensor, backend: Backend = "sdpa",
    ) -> None:  # fmt: skip
        self.queries, self.keys, self.backend = queries, keys, backend
        self.key_index, self.query_bounds, self.key_bounds = key_index, query_bounds, key_bounds
        self.seen_until = seen_until
        self.longest_query = max(end - start for start, end in queries)
        self.longest_key = max(sum(end - start for start, end in path) for path in keys)
        self.masks: dict[Any, Any] = {}

    def to(self, device: torch.device | str, backend: Backend) -> SharedLayout:
        """The layout with its tensors on `device`, to be computed by `backend`."""
        tensors = (self.key_index, self.query_bounds, self.key_bounds, self.seen_until)
        index, query_bounds, key_bounds, until = (t.to(device, non_blocking=True) for t in tensors)
        return SharedLayout(self.queries, self.keys, index, query_bounds, key_bounds, until, backend)


def layout_of(trees: Sequence[PrefixTree]) -> SharedLayout:
    """The layout of trees packed end to end, each in its depth-first order."""
    queries: list[Span] = []
    keys: list[tuple[Span, ...]] = []
    until: list[int] = []
    for tree in trees:
        first, here = len(queries), queries[-1][1] if queries else 0
        for segment in tree.segments:
            span = (here, here + len(segment.tokens))
            above = keys[first + segment.parent] if segment.parent >= 0 else ()
            queries.append(span)
            if above and above[-1][1] == here:  # it lies right behind its parent: one range
                keys.append((*above[:-1], (above[-1][0], span[1])))
            else:
                keys.append((*above, span))
            here = span[1]
        # For each token of a tree, the end of the range taken by its segment and everything below.
        spans = queries[first:]
        ends = [end for _, end in spans]
        for index in range(len(spans) - 1, 0, -1):  # children come after parents
            parent = tree.segments[index].parent
            ends[parent] = max(ends[parent], ends[index])
        until += [end for (start, stop), end in zip(spans, ends, strict=True) for _ in range(stop - start)]
    lengths = [sum(end - start for start, end in path) for path in keys]
    return SharedLayout(
        queries=tuple(queries),
        keys=tuple(keys),
        key_index=torch.cat([torch.arange(start, end) for path in keys for start, end in path]),
        query_bounds=torch.tensor([0, *(end for _, end in queries)], dtype=torch.int32),
        key_bounds=torch.tensor([0, *accumulate(lengths)], dtype=torch.int32),
        seen_until=torch.tensor(until, dtype=torch.int32),
    )
