"""Floating-point work of a step, and what the device can do: their ratio is the model FLOPs utilisation (MFU).

Counted is what the mathematics needs as laid out: prompts once, responses once, images once, the output layer for
scored tokens only. Activations computed again by checkpointing count as nothing.
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
    pixels = batch.images.get("pixel_values")
    tiles = 0 if pixels is None else len(pixels)
    patches = tiles * shape.tile_tokens
    weights = shape.parameters["text"] * batch.tokens + shape.parameters["vision"] * patches
    head = shape.vocabulary * text.hidden * len(batch.targets)
    attention = text.layers * text.query * seen + vision.layers * vision.query * patches * shape.tile_tokens
    return 2.0 * (weights + head) + 4.0 * attention


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
