"""A micro-batch: several groups packed into one row of tokens, with everything the scorer and the loss look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from mmpr_pipeline.training.data.groups import ENOUGH_TO_SHARE, Group, IndexedPair, PrefixTree, prefix_tree

Backend = Literal["sdpa", "varlen", "flex"]
Span = tuple[int, int]


class SharedLayout:
    """Where the segments of a packed row lie and what each token may see: what the attention kernels read.

    Each segment of a tree attends to the segments above it, whole, and to itself, causally. In depth-first order the
    tokens below a segment are one range right after it, hence two equal readings:

        by segment   the queries of one segment against the keys of its path, causal with the diagonal at the bottom
                     right
        by token     key k is seen by query q when k <= q < end[k], end[k] the end of the range below k's segment

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


ImageInputs = Mapping[str, Tensor]  # what a model's processor makes of a group's images: rows along dimension 0


@dataclass(frozen=True)
class PackedBatch:
    """T tokens of G groups; N scored (predicted) tokens; R responses; P pairs. Index tensors are int64.

    Padding-free: there is no attention mask, so no token id, `!` (0 in Qwen's vocabulary) included, can be taken for
    padding.
    """

    input_ids: Tensor  # (T,)
    positions: Tensor  # (T,) distance from the start of the own sequence: restarts after the prompt for each response
    layout: SharedLayout
    prompts: tuple[tuple[int, int], ...]  # (G) the range of each prompt
    score_at: Tensor  # (N,) the token whose hidden state predicts
    targets: Tensor  # (N,) the token predicted
    score_segment: Tensor  # (N,) the segment that the target belongs to
    path_response: Tensor  # (M,) with path_segment: response i runs through segment j
    path_segment: Tensor  # (M,)
    lengths: Tensor  # (R,) tokens of each response
    response_group: tuple[int, ...]  # (R) the group of each response
    chosen: Tensor  # (P,) index of a response
    rejected: Tensor  # (P,)
    pair_ids: tuple[str, ...]
    images: dict[str, Tensor]
    image_rows: tuple[Mapping[str, int], ...]  # (G) rows of each of `images` that are the group's

    @property
    def tokens(self) -> int:
        """Tokens that a forward computes."""
        return len(self.input_ids)

    @property
    def pairs(self) -> int:
        """Pairs in the batch."""
        return len(self.pair_ids)

    def images_by_group(self) -> list[dict[str, Tensor]]:
        """Of `images`, the rows of each group."""
        sizes = {name: [rows.get(name, 0) for rows in self.image_rows] for name in self.images}
        parts = {name: value.split(sizes[name]) for name, value in self.images.items()}
        return [{name: parts[name][group] for name in rows} for group, rows in enumerate(self.image_rows)]

    def to(self, device: torch.device | str, backend: Backend = "sdpa") -> PackedBatch:
        """The batch on `device`, its attention to be computed by `backend`."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        moved = {name: value.to(device, non_blocking=True) for name, value in tensors.items()}
        images = {name: value.to(device, non_blocking=True) for name, value in self.images.items()}
        return replace(self, **moved, images=images, layout=self.layout.to(device, backend))


def collate(groups: Sequence[Group], images: Sequence[ImageInputs], *, share: bool = True) -> PackedBatch:
    """Pack groups, and the model inputs made from each one's images, into a micro-batch.

    `images[i]` may be empty for a group without images. With `share` off, responses share the prompt but no
    beginnings among themselves.
    """
    trees = [prefix_tree(group, ENOUGH_TO_SHARE if share else 1 << 62) for group in groups]
    layout = layout_of(trees)
    tokens = torch.tensor([token for tree in trees for segment in tree.segments for token in segment.tokens])
    # Distance of each token from the start of the sequence that it would stand in alone.
    lengths = [end - start for start, end in layout.queries]
    depths = [sum(end - start for start, end in path) for path in layout.keys]
    positions = torch.cat([torch.arange(depth - n, depth) for depth, n in zip(depths, lengths, strict=True)])
    prompts, paths, pairs = list[Span](), list[tuple[int, int]](), list[tuple[int, IndexedPair]]()
    score_at, targets, owner = list[Tensor](), list[Tensor](), list[Tensor]()
    first, responses = 0, 0  # of this tree's segments, and of its responses, among all
    for group, tree in zip(groups, trees, strict=True):
        prompts.append(layout.queries[first])
        paths += [(responses + i, first + segment) for i, path in enumerate(tree.paths) for segment in path]
        pairs += [(responses, pair) for pair in group.pairs]
        # Where each response token is predicted, where it stands, its segment. A segment's first token is predicted by
        # its parent's last: several segments may be predicted by the same position.
        for index, segment in enumerate(tree.segments[1:], start=first + 1):
            start, end = layout.queries[index]
            before = layout.queries[first + segment.parent][1] - 1
            score_at += [torch.tensor([before]), torch.arange(start, end - 1)]
            targets.append(torch.arange(start, end))
            owner.append(torch.full((end - start,), index))
        first, responses = first + len(tree.segments), responses + len(group.responses)
    image_names = sorted({name for inputs in images for name in inputs})
    return PackedBatch(
        input_ids=tokens,
        positions=positions,
        layout=layout,
        prompts=tuple(prompts),
        score_at=torch.cat(score_at),
        targets=tokens[torch.cat(targets)],
        score_segment=torch.cat(owner),
        path_response=torch.tensor([response for response, _ in paths]),
        path_segment=torch.tensor([segment for _, segment in paths]),
        lengths=torch.tensor([len(response) for group in groups for response in group.responses]),
        response_group=tuple(index for index, group in enumerate(groups) for _ in group.responses),
        chosen=torch.tensor([base + pair.chosen for base, pair in pairs]),
        rejected=torch.tensor([base + pair.rejected for base, pair in pairs]),
        pair_ids=tuple(pair.pair_id for _, pair in pairs),
        images={name: stack_rows([inputs[name] for inputs in images if name in inputs]) for name in image_names},
        image_rows=tuple({name: len(value) for name, value in inputs.items()} for inputs in images),
    )


def images_as(dtype: torch.dtype, images: ImageInputs) -> dict[str, Tensor]:
    """Inputs with what is no whole number as `dtype`."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in images.items()}


def stack_rows(tensors: Sequence[Tensor]) -> Tensor:
    """Rows of all, one after the other; zeros where other dimensions differ, as processors pad images of other sizes.

    Tiles are large: those of a single group are not copied.
    """
    if len(tensors) == 1:
        return tensors[0]
    widest = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    wide = []
    for tensor in tensors:
        missing = [most - size for most, size in zip(widest, tensor.shape[1:], strict=True)]
        sides = [side for more in reversed(missing) for side in (0, more)]
        wide.append(torch.nn.functional.pad(tensor, sides) if any(missing) else tensor)
    return torch.cat(wide)
