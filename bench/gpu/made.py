"""Models of the sizes that are trained, with random weights; micro-batches; the same pairs row by row; a clock."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch, collate
from mmpr_pipeline.training.data.groups import Group, IndexedPair
from mmpr_pipeline.training.policy.kernels import token_log_probs

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
HALF = torch.bfloat16 if CUDA else torch.float32
PATCH = 14


class Absent(Exception):
    """What a section needs is not installed."""


@dataclass(frozen=True)
class Shape:
    """A model, and the questions that it is asked: `tiles` and `words` of a prompt, tokens of a response."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    vision_layers: int = 24
    vision_width: int = 1024
    side: int = 448
    tiles: int = 7
    words: int = 108
    answer: int = 300

    @property
    def image_tokens(self) -> int:
        return self.tiles * (self.side // PATCH) ** 2 // 4


SHAPES = {
    "1B": Shape(896, 4864, 24, 14, 2, 151655),
    "2B": Shape(2048, 8192, 24, 16, 8, 92553),
    "8B": Shape(4096, 14336, 32, 32, 8, 92553),
    "8B/4": Shape(4096, 14336, 8, 32, 8, 92553, vision_layers=6),  # a quarter of the layers
    "1B/4": Shape(896, 4864, 6, 14, 2, 32000, vision_layers=6),  # and a small vocabulary: 2.7 GB of a checkpoint
    "tiny": Shape(128, 256, 2, 4, 2, 500, 2, 64, 56, 3, 10, 12),
}


def make_model(shape: Shape, dtype: torch.dtype, device: torch.device = DEVICE) -> Any:
    """An InternVL with a Llama text model."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig

    text = LlamaConfig(
        hidden_size=shape.hidden, intermediate_size=shape.mlp, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.key_heads, vocab_size=shape.vocabulary,
        max_position_embeddings=16384, tie_word_embeddings=False,
    )  # fmt: skip
    vision = {
        "hidden_size": shape.vision_width, "intermediate_size": 4 * shape.vision_width,
        "num_hidden_layers": shape.vision_layers, "image_size": [shape.side] * 2, "patch_size": [PATCH] * 2,
        "num_attention_heads": max(1, shape.vision_width // 64),
    }  # fmt: skip
    config = InternVLConfig(
        vision_config=vision, text_config=text.to_dict(), image_token_id=shape.vocabulary - 1,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return InternVLForConditionalGeneration(config).train()
    finally:
        torch.set_default_dtype(before)


def make_groups(shape: Shape, count: int, pairs: int) -> tuple[list[Group], list[dict[str, Tensor]]]:
    """`count` questions of `pairs` pairs each, responses of 0.7 to 1.3 of the usual length, and their tiles."""
    groups = [_group(shape, f"{number}", pairs) for number in range(count)]
    size = (shape.tiles, 3, shape.side, shape.side)
    tiles = [torch.randn(size, generator=torch.Generator().manual_seed(number)) for number in range(count)]
    return groups, [{"pixel_values": each} for each in tiles]


def _group(shape: Shape, name: str, pairs: int) -> Group:
    rng, image = random.Random(name), shape.vocabulary - 1

    def text(length: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1, image) for _ in range(length))

    responses = tuple(text(int(shape.answer * rng.uniform(0.7, 1.3))) for _ in range(2 * pairs))
    indexed = tuple(IndexedPair(f"{name}-{i}", 2 * i, 2 * i + 1) for i in range(pairs))
    return Group(name, (image,) * shape.image_tokens + text(shape.words), (), responses, indexed)


def packed(groups: Sequence[Group], images: Sequence[dict[str, Tensor]], dtype: torch.dtype = HALF) -> PackedBatch:
    """The micro-batch that the trainer would make of them."""
    return collate(groups, [{name: value.to(dtype) for name, value in each.items()} for each in images])


def plain_scores(model: Any, group: Group, images: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Log-probs and lengths, two padded rows a pair and the tiles once a row, as preference trainers do it; the output
    layer over response positions in chunks, as ours."""
    rows = [group.responses[i] for pair in group.pairs for i in (pair.chosen, pair.rejected)]
    longest = max(map(len, rows))
    ids = torch.tensor([group.prompt + row + (1,) * (longest - len(row)) for row in rows], device=DEVICE)
    tiles = images["pixel_values"].to(DEVICE, model.dtype).repeat(len(rows), 1, 1, 1)
    hidden = model.model(input_ids=ids, pixel_values=tiles, use_cache=False).last_hidden_state
    scored = hidden[:, len(group.prompt) - 1 : -1].flatten(0, 1)
    targets = ids[:, len(group.prompt) :].flatten()
    log_probs = token_log_probs(scored, model.lm_head.weight, targets).view(len(rows), -1)
    lengths = torch.tensor([len(row) for row in rows], device=DEVICE)
    return (log_probs * (torch.arange(longest, device=DEVICE) < lengths[:, None])).sum(1), lengths


def step_flops(shape: Shape, model: Any, groups: Sequence[Group], shared: bool) -> float:
    """FLOPs that forward and backward need as they are laid out; what is computed again is not counted."""
    body = sum(p.numel() for p in model.model.language_model.layers.parameters())
    vision = sum(p.numel() for p in model.model.vision_tower.parameters())
    patches = (shape.side // PATCH) ** 2 + 1
    total = 0.0
    for group in groups:
        rows, prompt = (1 if shared else len(group.responses)), len(group.prompt)
        answers = sum(map(len, group.responses))
        total += body * (rows * prompt + answers) + shape.vocabulary * shape.hidden * answers
        total += rows * vision * shape.tiles * patches
        seen = rows * prompt**2 / 2 + sum(len(r) * (prompt + len(r) / 2) for r in group.responses)
        total += 2 * shape.layers * shape.hidden * seen
        total += 2 * rows * shape.vision_layers * shape.vision_width * shape.tiles * patches**2
    return 6.0 * total


def timed(run: Callable[[], Any], repeats: int = 5, warm: int = 2) -> float:
    """Median seconds of a call, by the GPU's own events where there is one."""
    for _ in range(warm):
        run()
    took = []
    for _ in range(repeats):
        if CUDA:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            torch.cuda.synchronize()
            took.append(start.elapsed_time(end) / 1e3)
        else:
            began = time.perf_counter()
            run()
            took.append(time.perf_counter() - began)
    return sorted(took)[len(took) // 2]


def clear() -> None:
    """Give memory back, and measure its peak from here."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float:
    """Most memory since `clear`; 0 on the CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0.0
