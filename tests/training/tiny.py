"""Tiny random models of both families, and groups to score with them."""

from __future__ import annotations

import random
from typing import Any

import torch

from mmpr_pipeline.training.data.groups import Group, IndexedPair

VOCABULARY, IMAGE_TOKEN = 200, 199
TILE_TOKENS = 4


def scale_up(model: torch.nn.Module, seed: int) -> None:
    """Random weights large enough that every part of the model shows in its outputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
            elif "bias" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def internvl(text: str = "qwen2", seed: int = 0, vocabulary: int = VOCABULARY) -> Any:
    from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig, Qwen2Config, Qwen3Config

    kind = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}[text]
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = InternVLConfig(
        vision_config={
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [16, 16],
            "patch_size": [4, 4],
            "layer_scale_init_value": 1.0,
        },
        text_config=kind(
            **sizes,
            vocab_size=vocabulary,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=4096,
            tie_word_embeddings=False,
            pad_token_id=None,
        ).to_dict(),
        image_token_id=IMAGE_TOKEN,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config)
    scale_up(model, seed)
    return model.eval()


def qwen2_5_vl(seed: int = 0) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": VOCABULARY,
            "tie_word_embeddings": False,
            "pad_token_id": None,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        image_token_id=IMAGE_TOKEN,
        video_token_id=198,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    scale_up(model, seed)
    return model.eval()


def words(rng: random.Random, count: int) -> tuple[int, ...]:
    """Random text tokens; the one with id 0 (`!` in Qwen's vocabulary) comes up often."""
    return tuple(rng.choice([0, rng.randrange(1, 190)]) for _ in range(count))


def tiles(count: int, seed: int) -> dict[str, torch.Tensor]:
    if not count:
        return {}
    return {"pixel_values": torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))}


def group(
    name: str, responses: list[tuple[int, ...]], pairs: list[tuple[int, int]], *, images: int = 1, seed: int = 0
) -> Group:
    """A group whose prompt holds text, then its images' tokens one after the other with text between them."""
    rng = random.Random(f"{name} {seed}")
    prompt = words(rng, 3)
    for _ in range(images):
        prompt += (IMAGE_TOKEN,) * TILE_TOKENS + words(rng, 2)
    prompt += words(rng, 5)
    indexed = tuple(IndexedPair(f"{name}-{i}", c, r) for i, (c, r) in enumerate(pairs))
    return Group(name, prompt, tuple(f"{name}-image-{i}" for i in range(images)), tuple(responses), indexed)


def several_groups() -> tuple[list[Group], list[dict[str, torch.Tensor]]]:
    """One pair with one image; 3 responses with 3 pairs and two images; a DropNTP tree; one without an image."""
    rng = random.Random(7)
    half, other = words(rng, 20), words(rng, 17)
    groups = [
        group("one", [words(rng, 9), words(rng, 14)], [(0, 1)]),
        group("three", [words(rng, 1), words(rng, 30), words(rng, 8)], [(0, 1), (2, 1), (0, 2)], images=2),
        group(
            "tree",
            [half + words(rng, 6), half + words(rng, 11), half, other + words(rng, 3), other + words(rng, 2)],
            [(0, 1), (2, 1), (3, 4)],
        ),
        group("bare", [words(rng, 5), words(rng, 4)], [(1, 0)], images=0),
    ]
    return groups, [tiles(1, 1), tiles(2, 2), tiles(1, 3), {}]
