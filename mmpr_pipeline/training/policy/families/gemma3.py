"""Gemma 3: the tokens of an image see each other in both directions, and most layers see a window only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.policy.families.family import Family


class Gemma3(Family):
    """As any other, with the blocks of image tokens for the attention function."""

    def attention_inputs(self, model: Any, batch: PackedBatch) -> dict[str, object]:
        """`blocks`, see `blocks_of`."""
        return {"blocks": blocks_of(batch.input_ids == self.image_token(model))}


def blocks_of(is_image: Tensor) -> Tensor:
    """(T,) number of the run of image tokens that a token is in, -1 for text. Every run is one image."""
    starts = is_image & ~torch.nn.functional.pad(is_image, (1, 0))[:-1]
    return torch.where(is_image, starts.cumsum(0) - 1, -1)
