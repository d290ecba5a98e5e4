"""Tiny random models of many types of transformers, each with groups and images as its processor would make them."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmpr_pipeline.training.data.groups import Group, IndexedPair
from tests.training import tiny

VOCABULARY, IMAGE = tiny.VOCABULARY, tiny.IMAGE_TOKEN
TEXT: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "head_dim": 16, "max_position_embeddings": 4096,
    "pad_token_id": None, "tie_word_embeddings": False,
}  # fmt: skip
VIT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 4,
}  # fmt: skip
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
SPECIAL = {
    "image_token_id": IMAGE, "video_token_id": 198, "vision_start_token_id": 197, "vision_end_token_id": 196,
    "tie_word_embeddings": False,
}  # fmt: skip


@dataclass(frozen=True)
class Animal:
    """How to make a model, and the inputs of n images with the tokens that each of them takes in the prompt."""

    model: Callable[[], Any]
    images: Callable[[int, torch.Generator], tuple[dict[str, Tensor], list[int]]]


def _tiles(tokens: int) -> Callable[[int, torch.Generator], tuple[dict[str, Tensor], list[int]]]:
    return lambda n, rng: ({"pixel_values": torch.randn(n, 3, 16, 16, generator=rng)}, [tokens] * n)


def _patches(values: int) -> Callable[[int, torch.Generator], tuple[dict[str, Tensor], list[int]]]:
    def make(n: int, rng: torch.Generator) -> tuple[dict[str, Tensor], list[int]]:
        grids = torch.tensor([[(1, 4, 6), (1, 4, 4), (1, 2, 8)][i % 3] for i in range(n)])
        patches = int(grids.prod(1).sum())
        return {
            "pixel_values": torch.randn(patches, values, generator=rng),
            "image_grid_thw": grids,
        }, [int(grid.prod()) // 4 for grid in grids]

    return make


def _several_of_a_prompt(n: int, rng: torch.Generator) -> tuple[dict[str, Tensor], list[int]]:
    mask = torch.ones(1, n, 16, 16, dtype=torch.long)
    return {"pixel_values": torch.randn(1, n, 3, 16, 16, generator=rng), "pixel_attention_mask": mask}, [4] * n


def _any_size(n: int, rng: torch.Generator) -> tuple[dict[str, Tensor], list[int]]:
    """Pixtral's: of several sizes, padded to the largest of the prompt."""
    sizes = [[(8, 16), (16, 8), (16, 24)][(i + n) % 3] for i in range(n)]
    pixels = torch.zeros(n, 3, max(h for h, _ in sizes), max(w for _, w in sizes))
    for i, (h, w) in enumerate(sizes):
        pixels[i, :, :h, :w] = torch.randn(3, h, w, generator=rng)
    return {"pixel_values": pixels, "image_sizes": torch.tensor(sizes)}, [h * w // 64 for h, w in sizes]


def _tiles_by_size(newline: bool) -> Callable[[int, torch.Generator], tuple[dict[str, Tensor], list[int]]]:
    """LLaVA-NeXT's: the whole and its tiles; several images in one prompt of OneVision are not cut."""

    def make(n: int, rng: torch.Generator) -> tuple[dict[str, Tensor], list[int]]:
        cut = n == 1 or newline
        patches = 3 if cut else 1  # the whole, and two tiles of 16 x 32
        made = {
            "pixel_values": torch.randn(n, patches, 3, 16, 16, generator=rng),
            "image_sizes": torch.tensor([[16, 32]] * n),
        }
        if not newline:
            made["batch_num_images"] = torch.tensor([n])
        return made, [16 + 4 * (8 + 1) if cut else 17] * n

    return make


def _llava() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VIT).to_dict(), text_config=LlamaConfig(**TEXT).to_dict(),
        image_token_index=IMAGE, vision_feature_layer=-2, tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config)


def _llava_next() -> Any:
    from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, MistralConfig

    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VIT).to_dict(),
        text_config=MistralConfig(**TEXT, sliding_window=None).to_dict(),
        image_token_index=IMAGE, image_grid_pinpoints=[[16, 32], [32, 16]], tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaNextForConditionalGeneration(config)


def _llava_onevision() -> Any:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VIT).to_dict(), text_config=Qwen2Config(**TEXT).to_dict(),
        image_token_index=IMAGE, video_token_index=198, image_grid_pinpoints=[[16, 32], [32, 16]],
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaOnevisionForConditionalGeneration(config)


def _qwen(kind: str) -> Any:
    import transformers

    text = {**TEXT, "rope_parameters": MROPE}
    vision: dict[str, Any] = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }  # fmt: skip
    if kind == "Qwen2VL":
        vision |= {"embed_dim": 32, "hidden_size": 64}
    elif kind == "Qwen2_5_VL":
        vision |= {"intermediate_size": 48, "out_hidden_size": 64, "window_size": 16, "fullatt_block_indexes": [1]}
    else:
        vision |= {
            "intermediate_size": 48, "out_hidden_size": 64, "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        }  # fmt: skip
        text["rope_parameters"] = {**MROPE, "mrope_interleaved": True}
    if kind == "Qwen3VLMoe":
        text |= {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=vision, **SPECIAL)
    return getattr(transformers, f"{kind}ForConditionalGeneration")(config)


def _glm4v() -> Any:
    from transformers import Glm4vConfig, Glm4vForConditionalGeneration

    config = Glm4vConfig(
        text_config={**TEXT, "rope_parameters": MROPE},
        vision_config={
            "depth": 2, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "image_size": 16, "spatial_merge_size": 2,
            "temporal_patch_size": 2, "out_hidden_size": 64, "intermediate_size": 48,
        },
        image_token_id=IMAGE, video_token_id=198, image_start_token_id=197, image_end_token_id=196,
        video_start_token_id=195, video_end_token_id=194, tie_word_embeddings=False,
    )  # fmt: skip
    return Glm4vForConditionalGeneration(config)


def _idefics(kind: str) -> Any:
    import transformers
    from transformers import LlamaConfig

    text = LlamaConfig(**{**TEXT, "pad_token_id": 0}).to_dict()
    config = getattr(transformers, f"{kind}Config")(
        vision_config=VIT, text_config=text, image_token_id=IMAGE, scale_factor=2, tie_word_embeddings=False,
        pad_token_id=0,
    )  # fmt: skip
    return getattr(transformers, f"{kind}ForConditionalGeneration")(config)


def _gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    config = Gemma3Config(
        text_config={
            **TEXT, "sliding_window": 12, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 16, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        },
        vision_config={**VIT, "vision_use_head": False}, mm_tokens_per_image=4, image_token_id=IMAGE,
        boi_token_index=197, eoi_token_index=196, tie_word_embeddings=False,
    )  # fmt: skip
    return Gemma3ForConditionalGeneration(config)


def _paligemma() -> Any:
    from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration

    config = PaliGemmaConfig(
        vision_config={**VIT, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=GemmaConfig(**TEXT).to_dict(), image_token_index=IMAGE, projection_dim=64, hidden_size=64,
        tie_word_embeddings=False,
    )  # fmt: skip
    return PaliGemmaForConditionalGeneration(config)


def _mistral3() -> Any:
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig, PixtralVisionConfig

    config = Mistral3Config(
        vision_config=PixtralVisionConfig(**{**VIT, "image_size": 64, "head_dim": 16}).to_dict(),
        text_config=MistralConfig(**TEXT, sliding_window=None).to_dict(), image_token_index=IMAGE,
        spatial_merge_size=2, tie_word_embeddings=False,
    )  # fmt: skip
    return Mistral3ForConditionalGeneration(config)


def _pixtral() -> Any:
    from transformers import LlavaConfig, LlavaForConditionalGeneration, MistralConfig, PixtralVisionConfig

    config = LlavaConfig(
        vision_config=PixtralVisionConfig(**{**VIT, "image_size": 64, "head_dim": 16, "patch_size": 8}).to_dict(),
        text_config=MistralConfig(**TEXT, sliding_window=None).to_dict(), image_token_index=IMAGE,
        vision_feature_layer=-1, vision_feature_select_strategy="full", tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config)


def _moe_internvl() -> Any:
    from transformers import InternVLForConditionalGeneration, Qwen3MoeConfig

    config = tiny.internvl().config
    text = Qwen3MoeConfig(**TEXT, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=48)
    config.text_config = text
    return InternVLForConditionalGeneration(config)


def _windowed_llava() -> Any:
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, MistralConfig

    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VIT).to_dict(), text_config=MistralConfig(**TEXT, sliding_window=9).to_dict(),
        image_token_index=IMAGE, vision_feature_layer=-2, tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config)


def _aya_vision() -> Any:
    from transformers import AyaVisionConfig, AyaVisionForConditionalGeneration, Cohere2Config, SiglipVisionConfig

    text = {**TEXT, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "full_attention"]}
    config = AyaVisionConfig(
        vision_config=SiglipVisionConfig(**VIT).to_dict(),
        text_config=Cohere2Config(**text, logit_scale=0.25).to_dict(),
        image_token_index=IMAGE, downsample_factor=2, tie_word_embeddings=False,
    )  # fmt: skip
    return AyaVisionForConditionalGeneration(config)


def _qwen3_5() -> Any:
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2,
        "temporal_patch_size": 2, "intermediate_size": 48, "out_hidden_size": 64, "num_position_embeddings": 64,
    }  # fmt: skip
    text = {
        **TEXT, "rope_parameters": {**MROPE, "partial_rotary_factor": 1.0, "mrope_interleaved": True},
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    }  # fmt: skip
    return Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text, vision_config=vision, **SPECIAL))


def _glm4v_moe() -> Any:
    from transformers import Glm4vMoeConfig, Glm4vMoeForConditionalGeneration

    dense = _glm4v().config
    text = {
        **TEXT, "rope_parameters": {**MROPE, "partial_rotary_factor": 1.0}, "n_routed_experts": 6,
        "num_experts_per_tok": 2, "moe_intermediate_size": 48, "n_shared_experts": 1, "first_k_dense_replace": 1,
    }  # fmt: skip
    config = Glm4vMoeConfig(
        text_config=text, vision_config=dense.vision_config.to_dict(), image_token_id=IMAGE, video_token_id=198,
        image_start_token_id=197, image_end_token_id=196, video_start_token_id=195, video_end_token_id=194,
        tie_word_embeddings=False,
    )  # fmt: skip
    return Glm4vMoeForConditionalGeneration(config)


PLAIN: dict[str, Animal] = {
    "aya_vision": Animal(_aya_vision, _tiles(4)),
    "qwen3_5": Animal(_qwen3_5, _patches(96)),
}
"""Types that cannot share prefixes: scaled logits, linear attention."""

ZOO: dict[str, Animal] = {
    "llava": Animal(_llava, _tiles(16)),
    "llava, pixtral": Animal(_pixtral, _any_size),
    "llava, sliding windows": Animal(_windowed_llava, _tiles(16)),
    "llava_next": Animal(_llava_next, _tiles_by_size(newline=True)),
    "llava_onevision": Animal(_llava_onevision, _tiles_by_size(newline=False)),
    "qwen2_vl": Animal(lambda: _qwen("Qwen2VL"), _patches(96)),
    "qwen2_5_vl": Animal(lambda: _qwen("Qwen2_5_VL"), _patches(96)),
    "qwen3_vl": Animal(lambda: _qwen("Qwen3VL"), _patches(96)),
    "qwen3_vl_moe": Animal(lambda: _qwen("Qwen3VLMoe"), _patches(96)),
    "glm4v": Animal(_glm4v, _patches(96)),
    "glm4v_moe": Animal(_glm4v_moe, _patches(96)),
    "smolvlm": Animal(lambda: _idefics("SmolVLM"), _several_of_a_prompt),
    "idefics3": Animal(lambda: _idefics("Idefics3"), _several_of_a_prompt),
    "gemma3": Animal(_gemma3, _tiles(4)),
    "paligemma": Animal(_paligemma, _tiles(16)),
    "mistral3": Animal(_mistral3, _any_size),
    "internvl, qwen2": Animal(lambda: tiny.internvl("qwen2"), _tiles(4)),
    "internvl, qwen3": Animal(lambda: tiny.internvl("qwen3"), _tiles(4)),
    "internvl, llama": Animal(lambda: tiny.internvl("llama"), _tiles(4)),
    "internvl, qwen3_moe": Animal(_moe_internvl, _tiles(4)),
}


def model(name: str, seed: int = 0) -> Any:
    """A model of the zoo with random weights that show in its outputs."""
    torch.manual_seed(seed)
    made = {**ZOO, **PLAIN}[name].model()
    tiny.scale_up(made, seed)
    return made.eval()


def groups(name: str) -> tuple[list[Group], list[dict[str, Tensor]]]:
    """Five responses that share halves, over one image; three over two images; two over none."""
    rng, generator = random.Random(3), torch.Generator().manual_seed(3)
    half = tiny.words(rng, 20)
    tree = [half + tiny.words(rng, 6), half + tiny.words(rng, 11), half, tiny.words(rng, 5)]
    shapes: list[tuple[int, list[tuple[int, ...]], list[tuple[int, int]]]] = [
        (1, tree, [(0, 1), (2, 1), (0, 3)]),
        (2, [tiny.words(rng, 1), tiny.words(rng, 30), tiny.words(rng, 8)], [(0, 1), (2, 1)]),
        (0, [tiny.words(rng, 4), tiny.words(rng, 5)], [(0, 1)]),
    ]  # fmt: skip
    made, inputs = [], []
    for index, (count, responses, pairs) in enumerate(shapes):
        images, tokens = {**ZOO, **PLAIN}[name].images(count, generator) if count else ({}, [])
        prompt = tiny.words(rng, 3)
        for each in tokens:
            prompt += (197,) + (IMAGE,) * each + (196,) + tiny.words(rng, 2)
        prompt += tiny.words(rng, 15)
        indexed = tuple(IndexedPair(f"{index}-{i}", c, r) for i, (c, r) in enumerate(pairs))
        made.append(Group(f"q{index}", prompt, tuple(map(str, range(count))), tuple(responses), indexed))
        inputs.append(images)
    return made, inputs


def blank(name: str) -> dict[str, Tensor]:
    """Inputs of one image."""
    return {**ZOO, **PLAIN}[name].images(1, torch.Generator().manual_seed(1))[0]


def separate(model: Any, group: Group, images: dict[str, Tensor]) -> list[Tensor]:
    """Token log-probs of each response by transformers alone: one forward of prompt and response, its own attention."""
    wanted = inspect.signature(model.base_model.forward).parameters
    out = []
    for response in group.responses:
        ids = torch.tensor([group.prompt + response])
        kinds = [name for name in ("mm_token_type_ids", "token_type_ids") if name in wanted]
        extra = {name: (ids == IMAGE).int() for name in kinds}
        if model.config.model_type == "paligemma":  # 1 is what follows the prompt
            extra = {"token_type_ids": (torch.arange(ids.shape[1]) >= len(group.prompt)).int()[None]}
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **images, **extra).logits[0]
        predicted = logits[len(group.prompt) - 1 : -1].log_softmax(-1)
        out.append(predicted.gather(1, torch.tensor(response)[:, None])[:, 0])
    return out
