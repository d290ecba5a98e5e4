"""The plain path: a forward of the model itself over whole sequences, one row a response, nothing shared.

For models whose attention prefix sharing cannot compute: image and prompt are computed again for each response, and
logits of all response positions exist at once. What it gives is what transformers gives, by definition.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch, stack_rows
from mmpr_pipeline.training.policy.families.family import Family


def plain_token_log_probs(family: Family, model: Any, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """(N,) float32 log-probs of the batch's scored tokens, in the order of `batch.targets`; and which places of the
    rows, padded right, hold a token: (R, L) bool."""
    # Of each response: tokens of prompt and response, where the response starts, and the segments it runs
    # through.
    paths: list[list[int]] = [[] for _ in range(len(batch.lengths))]
    for response, segment in zip(batch.path_response.tolist(), batch.path_segment.tolist(), strict=True):
        paths[response].append(segment)
    rows = []
    for responses_path, group in zip(paths, batch.response_group, strict=True):
        spans = [batch.prompts[group], *(batch.layout.queries[segment] for segment in responses_path)]
        rows.append((torch.cat([batch.input_ids[a:b] for a, b in spans]), spans[0][1] - spans[0][0], responses_path))
    lengths = [len(ids) for ids, _, _ in rows]
    width = max(lengths)
    ids = torch.stack([F.pad(ids, (0, width - len(ids))) for ids, _, _ in rows])
    mask = torch.stack([torch.arange(width, device=ids.device) < length for length in lengths])
    keep = width - min(start for _, start, _ in rows) + 1
    partial = "logits_to_keep" in inspect.signature(model.forward).parameters
    out = model(
        input_ids=ids,
        attention_mask=mask.long(),
        use_cache=False,
        **family.text_inputs(model, ids, [start for _, start, _ in rows]),
        **_images(batch),
        **({"logits_to_keep": keep} if partial else {}),
    )
    first = width - out.logits.shape[1]  # position of the first logits
    by_segment: dict[int, Tensor] = {}
    for row, (tokens, start, path) in enumerate(rows):
        scores = -F.cross_entropy(
            out.logits[row, start - 1 - first : len(tokens) - 1 - first].float(), tokens[start:], reduction="none"
        )
        sizes = [end - begin for begin, end in (batch.layout.queries[segment] for segment in path)]
        by_segment.update(zip(path, scores.split(sizes), strict=True))
    return torch.cat([by_segment[segment] for segment in sorted(by_segment)]), mask


def _images(batch: PackedBatch) -> dict[str, Tensor]:
    """Images of each response's group, again for every response of it."""
    starts: list[dict[str, int]] = []
    at: dict[str, int] = {}
    for rows in batch.image_rows:
        starts.append({name: at.get(name, 0) for name in rows})
        at = {name: at.get(name, 0) + rows.get(name, 0) for name in {*at, *rows}}

    def of(group: int, name: str) -> list[Tensor]:
        rows: Mapping[str, int] = batch.image_rows[group]
        return [batch.images[name][starts[group][name] :][: rows[name]]] if name in rows else []

    return {name: stack_rows([t for group in batch.response_group for t in of(group, name)]) for name in batch.images}
