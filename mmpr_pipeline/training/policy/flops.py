"""Floating-point work of a step, and what the device can do: their ratio is the model FLOPs utilisation (MFU).

Counted is what the mathematics needs as laid out: prompts once, responses once, images once, the output layer for
scored tokens only; of experts those that a token takes. Activations computed again by checkpointing count as nothing,
nor do prompts that the plain path computes again.
"""

from __future__ import annotations

import time

import torch

from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.policy.memory import ModelShape


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
    """Tokens that the vision tower computes, by the pixels it is given."""
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
