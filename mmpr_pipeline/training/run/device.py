"""What a step needs of a device, and what the device has: floating-point work and memory.

The ratio of both works is the model FLOPs utilisation (MFU). Counted is what the mathematics needs as laid out: prompts
once, responses once, images once, the output layer for scored tokens only; of experts those that a token takes.
Activations computed again by checkpointing count as nothing, nor do prompts that the plain path computes again.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy, experts_of
from mmpr_pipeline.training.world import World

SHARES = {"cuda": 0.9, "cpu": 0.5}
"""Of a device's memory that a step may take: the rest is for fragments; main memory is shared with others."""
GIB = 1 << 30


@dataclass(frozen=True)
class ModelShape:
    """Layers of both stacks and the width of their queries; parameters by part; tokens of the vision tower by tile."""

    layers: int
    query: int
    vision_layers: int
    vision_query: int
    tile_tokens: int  # the class token included; 1 where a row of `pixel_values` is a patch
    patch_values: int  # of an image that become one token of the vision tower
    output: int  # parameters of the output layer
    parameters: Mapping[str, int]  # text, vision, projector, head (embeddings and output layer)
    idle_experts: int = 0  # of `text`: parameters of experts that a token does not take


def forward_flops(shape: ModelShape, batch: PackedBatch) -> float:
    """FLOPs of one forward of a batch: two for each weight and token, four for each query, key and channel."""
    seen = sum(
        (end - start) * (sum(b - a for a, b in keys) - (end - start) / 2)
        for (start, end), keys in zip(batch.layout.queries, batch.layout.keys, strict=True)
    )
    pixels, patches = batch.images.get("pixel_values"), 0.0
    if pixels is not None and pixels.ndim == 2:  # a row is a patch
        patches = float(len(pixels))
    elif pixels is not None:  # with a class token in each tile
        patches = pixels.numel() / shape.patch_values * shape.tile_tokens / max(1, shape.tile_tokens - 1)
    beside = patches * shape.tile_tokens
    if "image_grid_thw" in batch.images:
        beside = float(batch.images["image_grid_thw"].prod(1).square().sum())
    taken = shape.parameters["text"] - shape.idle_experts
    weights = taken * batch.tokens + shape.parameters["vision"] * patches + shape.output * len(batch.targets)
    attention = shape.layers * shape.query * seen + shape.vision_layers * shape.vision_query * beside
    return 2.0 * weights + 4.0 * attention


@cache
def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of large square matrix products on the device, measured in a fraction of a second."""
    size = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    for _ in range(2):
        a @ b
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    best = 0.0
    for _ in range(20):  # the best of many: other work on the machine must not lower the mark
        wait()
        start = time.perf_counter()
        for _ in range(2):
            a @ b
        wait()
        best = max(best, 2 * 2 * size**3 / (time.perf_counter() - start))
    return best


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
    idle, experts = 0, experts_of(text)
    if experts:  # stacked parameters (E, ...) of modules named `experts`, of which a token takes some
        stacks = [module for name, module in language.named_modules() if name.rpartition(".")[2] == "experts"]
        stacked = sum(p.numel() for stack in stacks for p in stack.parameters())
        idle = stacked * (experts.count - experts.taken) // experts.count

    def first(*names: str) -> Any:
        """Of the vision config, by the names that towers use; a tower without them counts by its parameters alone."""
        return next((found for name in names if (found := getattr(vision, name, None))), None)

    patch = np.broadcast_to(first("patch_size") or 14, 2).tolist()  # height and width: of a pair, or of a square
    tile_tokens = 1
    if first("image_size") and not first("spatial_merge_size"):
        height, width = np.broadcast_to(first("image_size"), 2).tolist()
        tile_tokens = (height // patch[0]) * (width // patch[1]) + 1
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelShape(
        layers=text.num_hidden_layers,
        query=head * text.num_attention_heads,
        vision_layers=int(first("num_hidden_layers", "depth") or 0),
        vision_query=int(first("embed_dim", "hidden_size") or 0),
        tile_tokens=tile_tokens,
        patch_values=3 * patch[0] * patch[1] * (first("temporal_patch_size") or 1),
        output=text.vocab_size * text.hidden_size,
        parameters={name: sum(sizes.values()) for name, sizes in counts.items()},
        idle_experts=idle,
    )


def check_resting(policy: PrefixSharedPolicy, ranks: int, reference: bool, available: float) -> int:
    """Bytes of weights, gradients and Adam's moments on each of `ranks` devices; without memory for any of them yet.

    Trained weights take 16 bytes, others those of their type; a second model takes its weights. Raises TrainingError,
    before anything is loaded, where a device has less than that available.
    """
    sizes = [p.numel() * (p.element_size() + (12 if p.requires_grad else 0)) for p in policy.parameters()]
    second = sum(p.numel() * p.element_size() for p in policy.parameters()) if reference else 0
    whole = sum(b.numel() * b.element_size() for b in policy.buffers())  # packed weights above all: on every rank
    needed = int((sum(sizes) + second) // ranks + whole)
    if needed > available:
        raise TrainingError(
            f"Weights, gradients and Adam's moments take {needed / GIB:.1f} GiB, the device has"
            f" {available / GIB:.1f} GiB.",
            remedy="Freeze parts of the model, use LoRA, or train on more devices.",
        )
    return needed


def device_memory(world: World) -> tuple[int, int]:
    """Bytes of a device, or of this process's share of the machine: that a step may take, and that are free now.

    The first by its size, as other processes come and go; what others hold of a GPU is theirs.
    """
    if world.device.type != "cuda":
        return int(SHARES["cpu"] * psutil.virtual_memory().total / world.local_size), main_memory(world)
    free, total = torch.cuda.mem_get_info(world.device)
    others = total - free - torch.cuda.memory_reserved(world.device)
    return int(SHARES["cuda"] * (total - others)), free


def main_memory(world: World) -> int:
    """Bytes that are free of this process's share of the machine's memory."""
    return int(psutil.virtual_memory().available // world.local_size)


def check_host_memory(model: Any, world: World) -> None:
    """Raise ConfigError where the ranks have not the memory to load a model whole, in float32."""
    needed, free = 4 * sum(p.numel() for p in model.parameters()), main_memory(world)
    if needed > free:
        raise ConfigError(
            f"Each of the {world.local_size} processes of this machine needs {needed / GIB:.0f} GiB to load the model,"
            f" {free / GIB:.0f} GiB are free.",
            remedy="Train with fewer processes to a machine, or on one with more memory.",
        )


def most_memory(device: torch.device, *, forget: bool = False) -> int:
    """The most bytes that were held so far. With `forget` it is counted anew from what is held now: on Linux a process
    may ask for that of its resident memory, once malloc has given back what it kept of freed blocks."""
    if forget:
        gc.collect()
    if device.type == "cuda":
        if forget:
            torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.max_memory_allocated(device))
    if forget:
        with suppress(OSError, AttributeError):  # then the most so far counts
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory_gib(device: torch.device) -> float:
    """Most memory used on a GPU since the last call; on the CPU, what the process holds now."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return float(used / 2**30)
    return float(psutil.Process().memory_info().rss / 2**30)
