"""Floating-point work of a step, and what the device can do: their ratio is the model FLOPs utilisation (MFU).

Counted is what the mathematics needs as laid out: prompts once, responses once, images once, the output layer for
scored tokens only; of experts those that a token takes. Activations computed again by checkpointing count as nothing,
nor do prompts that the plain path computes again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.policy.families.experts import experts_of
from mmpr_pipeline.training.policy.families.generic import sides_of


@dataclass(frozen=True)
class StackShape:
    """A stack of transformer layers: widths in elements. `kv` is the width of keys (and of values)."""

    layers: int
    hidden: int
    mlp: int
    query: int
    kv: int
    gated: bool


@dataclass(frozen=True)
class ModelShape:
    """Parameters by part, tokens of the vision tower by tile."""

    text: StackShape
    vision: StackShape
    vocabulary: int
    tile_tokens: int
    parameters: Mapping[str, int]  # text, vision, projector, head (embeddings and output layer)
    idle_experts: int = 0  # of `text`: parameters of experts that a token does not take
    patch_values: int = 588  # of an image that become one token of the vision tower


def forward_flops(shape: ModelShape, batch: PackedBatch) -> float:
    """FLOPs of one forward of a batch: two for each weight and token, four for each query, key and channel."""
    text, vision = shape.text, shape.vision
    seen = sum(
        (end - start) * (sum(b - a for a, b in keys) - (end - start) / 2)
        for (start, end), keys in zip(batch.layout.queries, batch.layout.keys, strict=True)
    )
    patches = vision_tokens(shape, batch)
    taken = shape.parameters["text"] - shape.idle_experts
    weights = taken * batch.tokens + shape.parameters["vision"] * patches
    head = shape.vocabulary * text.hidden * len(batch.targets)
    beside = batch.images["image_grid_thw"].prod(1).square().sum() if "image_grid_thw" in batch.images else (
        patches * shape.tile_tokens
    )  # fmt: skip
    attention = text.layers * text.query * seen + vision.layers * vision.query * float(beside)
    return 2.0 * (weights + head) + 4.0 * attention


def vision_tokens(shape: ModelShape, batch: PackedBatch) -> float:
    """Tokens that the vision tower computes, by its pixels."""
    pixels = batch.images.get("pixel_values")
    if pixels is None:
        return 0
    if pixels.ndim == 2:  # a row is a patch
        return len(pixels)
    patches = pixels.numel() / shape.patch_values
    return float(patches * shape.tile_tokens / max(1, shape.tile_tokens - 1))  # a class token in each tile


def training_flops(shape: ModelShape, batch: PackedBatch) -> float:
    """Forward and backward: three times the forward."""
    return 3.0 * forward_flops(shape, batch)


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of large square matrix products on the device, measured in a fraction of a second."""
    size = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    for _ in range(2):
        a @ b
    best = 0.0
    for _ in range(20):  # the best of many: other work on the machine must not lower the mark
        _wait(device)
        start = time.perf_counter()
        for _ in range(2):
            a @ b
        _wait(device)
        best = max(best, 2 * 2 * size**3 / (time.perf_counter() - start))
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def shape_of(model: Any, family: Any) -> ModelShape:
    """The shape of a transformers model, its parameters counted by part."""
    language, vision = family.language_model(model), getattr(model.config, "vision_config", None)
    text = language.config
    parts = {"vision": family.vision(model), "projector": family.projector(model), "text": language}
    counts = {name: {id(p): p.numel() for p in part.parameters()} for name, part in parts.items()}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    counts["head"] = {id(p): p.numel() for end in ends for p in end.parameters()}
    for name, other in (("vision", "projector"), ("text", "head")):  # one inside the other in some families
        counts[name] = {key: size for key, size in counts[name].items() if key not in counts[other]}
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    experts = experts_of(text)
    width = getattr(text, "moe_intermediate_size", None) if experts else None
    idle = 0
    if experts:  # stacked parameters (E, ...) of modules named `experts`, of which a token takes some
        stacks = [module for name, module in language.named_modules() if name.rpartition(".")[2] == "experts"]
        stacked = sum(p.numel() for stack in stacks for p in stack.parameters())
        idle = stacked * (experts.count - experts.taken) // experts.count
    down, across = sides_of(getattr(vision, "patch_size", None) or 14)
    return ModelShape(
        text=StackShape(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            mlp=experts.taken * width if experts and width else text.intermediate_size,
            query=head * text.num_attention_heads,
            kv=head * (getattr(text, "num_key_value_heads", None) or text.num_attention_heads),
            gated=True,
        ),
        vision=_vision_stack(vision),
        vocabulary=text.vocab_size,
        tile_tokens=_tile_tokens(vision),
        parameters={name: sum(sizes.values()) for name, sizes in counts.items()},
        idle_experts=idle,
        patch_values=3 * down * across * (getattr(vision, "temporal_patch_size", None) or 1),
    )


def _vision_stack(config: Any) -> StackShape:
    """By the names that towers use; one without them counts by its parameters alone."""
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "depth", None) or 0)
    width = int(getattr(config, "embed_dim", None) or getattr(config, "hidden_size", None) or 0)
    mlp = int(getattr(config, "intermediate_size", None) or width * getattr(config, "mlp_ratio", 4))
    return StackShape(layers, width, mlp, width, width, gated=hasattr(config, "spatial_merge_size"))


def _tile_tokens(config: Any) -> int:
    """Tokens of a tile in the vision tower, the class token included; 1 where tiles are single patches."""
    if hasattr(config, "spatial_merge_size") or not hasattr(config, "image_size"):
        return 1
    (height, width), (down, across) = sides_of(config.image_size), sides_of(getattr(config, "patch_size", 14))
    return (height // down) * (width // across) + 1
