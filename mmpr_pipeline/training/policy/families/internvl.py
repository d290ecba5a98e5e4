"""InternVL (2, 2.5, 3) in the transformers-native format: one position axis, a fixed number of tokens a tile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch


class InternVL:
    """`pixel_values` is (tiles, 3, height, width): all tiles of all images, in order."""

    def language_model(self, model: Any) -> Any:
        """`model.language_model`: a Qwen2, Qwen3, Llama or InternLM-like stack."""
        return model.model.language_model

    def vision(self, model: Any) -> nn.Module:
        """The InternViT."""
        return model.model.vision_tower

    def projector(self, model: Any) -> nn.Module:
        """The two-layer MLP after pixel shuffle."""
        return model.model.multi_modal_projector

    def image_features(self, model: Any, images: ImageInputs) -> Tensor:
        """(tiles x tokens a tile, D)."""
        config = model.config
        out = model.model.get_image_features(
            pixel_values=images["pixel_values"],
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            return_dict=True,
        )
        return getattr(out, "pooler_output", out).flatten(0, 1)

    def blank_image(self, model: Any) -> dict[str, Tensor]:
        """One tile of zeros."""
        height, width = model.config.vision_config.image_size
        return {"pixel_values": torch.zeros(1, 3, height, width)}

    def image_tokens(self, model: Any, images: ImageInputs) -> int:
        """Tiles times tokens a tile (256 for 448 px tiles of 14 px patches, halved each way by pixel shuffle)."""
        if "pixel_values" not in images:
            return 0
        return len(images["pixel_values"]) * tokens_per_tile(model.config)

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        """(1, T)."""
        return batch.positions.unsqueeze(0)


def tokens_per_tile(config: Any) -> int:
    """Tokens that one tile becomes in the prompt."""
    (height, width), (down, across) = config.vision_config.image_size, config.vision_config.patch_size
    return int((height // down) * (width // across) * config.downsample_ratio**2)
