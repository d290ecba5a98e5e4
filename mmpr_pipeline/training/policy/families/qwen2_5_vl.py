"""Qwen2.5-VL: images of any size, and positions with three axes (time, height, width) inside images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch


class Qwen2_5_VL:
    """`pixel_values` is (patches, values), `image_grid_thw` (images, 3): patches by time, height and width."""

    def language_model(self, model: Any) -> Any:
        """The text stack."""
        return model.model.language_model

    def vision(self, model: Any) -> nn.Module:
        """The vision transformer, its merger included."""
        return model.model.visual

    def projector(self, model: Any) -> nn.Module:
        """The patch merger."""
        return model.model.visual.merger

    def image_features(self, model: Any, images: ImageInputs) -> Tensor:
        """(merged patches, D)."""
        out = model.model.get_image_features(images["pixel_values"], images["image_grid_thw"], return_dict=True)
        features = getattr(out, "pooler_output", out)
        return features if isinstance(features, Tensor) else torch.cat(tuple(features))

    def blank_image(self, model: Any) -> dict[str, Tensor]:
        """The patches of one merged token."""
        vision = model.config.vision_config
        merge = vision.spatial_merge_size
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        return {
            "pixel_values": torch.zeros(merge * merge, values),
            "image_grid_thw": torch.tensor([[1, merge, merge]]),
        }

    def image_tokens(self, model: Any, images: ImageInputs) -> int:
        """Patches over the merged square."""
        if "image_grid_thw" not in images:
            return 0
        return int(images["image_grid_thw"].prod(1).sum()) // model.config.vision_config.spatial_merge_size**2

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        """(3, 1, T): the prompt's by `prompt_positions`; responses go on from there, alike on all axes."""
        axes = batch.positions.expand(3, -1).clone()
        grids = iter(batch.images["image_grid_thw"].tolist() if batch.images else [])
        merge = model.config.vision_config.spatial_merge_size
        ends = [start for start, _ in batch.prompts[1:]] + [batch.tokens]
        for (start, stop), end in zip(batch.prompts, ends, strict=True):
            is_image = (batch.input_ids[start:stop] == model.config.image_token_id).tolist()
            prompt, reached = prompt_positions(is_image, grids, merge)
            axes[:, start:stop] = prompt.to(axes.device)
            axes[:, stop:end] += reached - (stop - start)
        return axes.unsqueeze(1)


def prompt_positions(is_image: list[bool], grids: Any, merge: int) -> tuple[Tensor, int]:
    """Positions (3, length) of a prompt, and the position after it.

    Multimodal rotary positions (Qwen2-VL, arXiv 2409.12191, section 2.1): text counts on all axes alike; an image
    stands at one time, with rows and columns counting from the position it starts at; what follows goes on after
    the larger of its height and width. `grids` yields the (time, height, width) of each image in turn.
    """
    parts: list[Tensor] = []
    here = index = 0
    while index < len(is_image):
        if not is_image[index]:
            parts.append(torch.full((3, 1), here))
            here, index = here + 1, index + 1
            continue
        time, height, width = next(grids)
        height, width = height // merge, width // merge
        parts.append(torch.cartesian_prod(*(torch.arange(n) for n in (time, height, width))).view(-1, 3).T + here)
        here += max(height, width)
        index += time * height * width
    return torch.cat(parts, 1), here
