"""Models of the zoo as folders with real processors, to train as a user would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.training import tiny, zoo
from tests.training.made import TEXTS


def folder(name: str, directory: Path) -> Path:
    """A folder of `qwen3_vl_moe`, `qwen3_5` (plain path), `llava` or `vipllava` (not in the list of checked types)."""
    from mmpr_pipeline.models.torchvision_cpu import install

    install()
    tokenizer = _tokenizer()
    sizes = {
        "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }  # fmt: skip
    image_token = tokenizer.convert_tokens_to_ids(tokenizer.image_token)
    torch.manual_seed(0)
    made = _of_patches(name, sizes, image_token) if name.startswith("qwen") else _of_tiles(name, sizes, image_token)
    tiny.scale_up(made, 0)
    made.save_pretrained(directory)
    (_patch_processor if name.startswith("qwen") else _tile_processor)(tokenizer).save_pretrained(directory)
    return directory


def _tokenizer() -> Any:
    """The nano model's, by the names that the processors of Qwen and LLaVA ask for."""
    from transformers import PreTrainedTokenizerFast

    from mmpr_pipeline.nano.model import SPECIALS, make_tokenizer

    nano = make_tokenizer(TEXTS)
    names = {
        "image_token": "context_image_token", "video_token": "video_token", "vision_start_token": "start_image_token",
        "vision_end_token": "end_image_token",
    }  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=nano.backend_tokenizer, pad_token=nano.pad_token, eos_token=nano.eos_token,
        chat_template=nano.chat_template, extra_special_tokens={name: SPECIALS[key] for name, key in names.items()},
    )  # fmt: skip


def _of_patches(name: str, sizes: dict[str, Any], image_token: int) -> Any:
    config = {**zoo.ZOO, **zoo.PLAIN}[name].model().config
    for key, value in sizes.items():
        setattr(config.text_config, key, value)
    config.image_token_id, config.video_token_id = image_token, image_token + 1
    config.vision_start_token_id, config.vision_end_token_id = image_token - 2, image_token - 1
    if name == "qwen3_vl_moe":
        config.text_config.router_aux_loss_coef = 0.01
    return {"qwen3_vl_moe": _class("Qwen3VLMoe"), "qwen3_5": _class("Qwen3_5")}[name](config)


def _of_tiles(name: str, sizes: dict[str, Any], image_token: int) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig

    kind = {"llava": "Llava", "vipllava": "VipLlava"}[name]
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vision_config=CLIPVisionConfig(**zoo.VIT).to_dict(), text_config=LlamaConfig(**{**zoo.TEXT, **sizes}).to_dict(),
        image_token_index=image_token, tie_word_embeddings=False,
        **({"vision_feature_layer": -2} if name == "llava" else {"vision_feature_layers": [-1, -2]}),
    )  # fmt: skip
    return _class(kind)(config)


def _class(kind: str) -> Any:
    import transformers

    return getattr(transformers, f"{kind}ForConditionalGeneration")


def _patch_processor(tokenizer: Any) -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    sides = {"shortest_edge": 64, "longest_edge": 1024}
    images = Qwen2VLImageProcessor(patch_size=4, merge_size=2, temporal_patch_size=2, size=sides)
    videos = Qwen3VLVideoProcessor(patch_size=4, merge_size=2, temporal_patch_size=2, size=sides)
    return Qwen3VLProcessor(images, tokenizer, videos, chat_template=tokenizer.chat_template)


def _tile_processor(tokenizer: Any) -> Any:
    from transformers import CLIPImageProcessor, LlavaProcessor

    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return LlavaProcessor(
        images, tokenizer, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip
