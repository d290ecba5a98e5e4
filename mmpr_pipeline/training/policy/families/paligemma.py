"""PaliGemma: the whole prompt sees itself in both directions, and positions count from 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.policy.families.family import Family


class PaliGemma(Family):
    """As any other, with prompts as blocks for the attention function; of the model's token types 1 is the response."""

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        return super().positions(model, batch) + 1

    def text_inputs(self, model: Any, input_ids: Tensor, prompts: Sequence[int]) -> dict[str, Tensor]:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        starts = torch.tensor(prompts, device=input_ids.device)
        return {"token_type_ids": (places >= starts[:, None]).int()}

    def attention_inputs(self, model: Any, batch: PackedBatch) -> dict[str, object]:
        """`blocks`: the number of the prompt that a token is of, -1 for responses."""
        blocks = torch.full_like(batch.input_ids, -1)
        for number, (start, end) in enumerate(batch.prompts):
            blocks[start:end] = number
        return {"blocks": blocks}
