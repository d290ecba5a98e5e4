"""Folders of the zoo's models, with the processors of their types, to train as a user would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tests.training import tiny, zoo
from tests.training.made import TEXTS

SQUARE = {"height": 16, "width": 16}
PATCHES = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
SIDES = {"shortest_edge": 128, "longest_edge": 2048}
NAMED = {
    "image_token": "<IMG_CONTEXT>", "video_token": "<video>", "audio_token": "<audio>", "boi_token": "<img>",
    "eoi_token": "</img>", "vision_start_token": "<img>", "vision_end_token": "</img>",
}  # fmt: skip
"""Special tokens, by the names under which processors ask a tokenizer for them."""
MARKS = {
    "gemma3": "<img>",
    "idefics3": "<image>",
    "aya_vision": "<image>",
    "mistral3": "[IMG]",
    "llava, pixtral": "[IMG]",
}
"""What a chat template writes for an image, where that is not the image token."""


def folder(name: str, directory: Path) -> Path:
    """A folder of a model of `PROCESSORS`, all of the zoo but for `vipllava`, a type that is not listed as checked."""
    from mmpr_pipeline.models.torchvision_cpu import install

    install()
    tokenizer = _tokenizer(MARKS.get(name, NAMED["image_token"]))
    processor = PROCESSORS[name](tokenizer)
    model = _vipllava() if name == "vipllava" else {**zoo.ZOO, **zoo.PLAIN}[name].model()
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in NAMED.items()}
    taken = {"gemma3": "<IMG_CONTEXT>", "aya_vision": "<|IMG_PATCH|>"}.get(name, processor.image_token)
    image = tokenizer.convert_tokens_to_ids(taken)
    _set(model.config, {
        "image_token_id": image, "image_token_index": image, "video_token_id": ids["video_token"],
        **{f"{kind}_{side}_token_id": ids[f"vision_{side}_token"]
           for kind in ("vision", "image", "video") for side in ("start", "end")},
        "boi_token_index": ids["boi_token"], "eoi_token_index": ids["eoi_token"],
    })  # fmt: skip
    _set(model.config.text_config, {
        "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None, **({"router_aux_loss_coef": 0.01} if name == "qwen3_vl_moe" else {}),
    })  # fmt: skip
    torch.manual_seed(0)
    made = type(model)(model.config)
    tiny.scale_up(made, 0)
    made.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def _set(config: Any, values: Mapping[str, object]) -> None:
    for key, value in values.items():
        if hasattr(config, key):
            setattr(config, key, value)


def _tokenizer(mark: str) -> Any:
    """The nano model's, with the tokens that processors ask for and a template that writes `mark` for an image."""
    from transformers import PreTrainedTokenizerFast

    from mmpr_pipeline.nano.model import SPECIALS, make_tokenizer

    nano = make_tokenizer(TEXTS)
    made = PreTrainedTokenizerFast(
        tokenizer_object=nano.backend_tokenizer, pad_token=nano.pad_token, eos_token=nano.eos_token,
        chat_template=nano.chat_template.replace(SPECIALS["context_image_token"], mark), extra_special_tokens=NAMED,
    )  # fmt: skip
    made.add_tokens([mark, "<|IMG_PATCH|>"], special_tokens=True)
    return made


def _vipllava() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, VipLlavaConfig, VipLlavaForConditionalGeneration

    config = VipLlavaConfig(
        vision_config=CLIPVisionConfig(**zoo.VIT).to_dict(), text_config=LlamaConfig(**zoo.TEXT).to_dict(),
        vision_feature_layers=[-1, -2], tie_word_embeddings=False,
    )  # fmt: skip
    return VipLlavaForConditionalGeneration(config)


def _of_patches(kind: str) -> Callable[[Any], Any]:
    """Images of any size, as a row of patches."""

    def make(tokenizer: Any) -> Any:
        import transformers

        family = "Glm4v" if kind == "Glm4v" else "Qwen2VL"
        images = getattr(transformers, f"{family}ImageProcessor")(**PATCHES, size=SIDES)
        videos = {"Glm4v": "Glm4v", "Qwen3VL": "Qwen3VL"}.get(kind, "Qwen2VL")
        video = getattr(transformers, f"{videos}VideoProcessor")(**PATCHES, size=SIDES)
        processor = getattr(transformers, f"{kind}Processor")
        return processor(images, tokenizer, video, chat_template=tokenizer.chat_template)

    return make


def _of_pictures(kind: str, images: str, form: Mapping[str, Any], **options: Any) -> Callable[[Any], Any]:
    """A processor of transformers around an image processor of transformers."""

    def make(tokenizer: Any) -> Any:
        import transformers

        pictures = getattr(transformers, f"{images}ImageProcessor")(**form)
        if kind == "PaliGemma":
            pictures.image_seq_length = 16
        if kind == "LlavaOnevision":
            options["video_processor"] = transformers.LlavaOnevisionVideoProcessor(size=SQUARE)
        processor = getattr(transformers, f"{kind}Processor")
        return processor(pictures, tokenizer, chat_template=tokenizer.chat_template, **options)

    return make


CLIP = {"size": {"shortest_edge": 16}, "crop_size": SQUARE}
BY_SIZE = {"image_grid_pinpoints": [[16, 32], [32, 16]]}
OF_CLIP = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}

PROCESSORS: dict[str, Callable[[Any], Any]] = {
    "llava": _of_pictures("Llava", "CLIP", CLIP, **OF_CLIP),
    "vipllava": _of_pictures("Llava", "CLIP", CLIP, **OF_CLIP),
    "llava_next": _of_pictures("LlavaNext", "LlavaNext", {**CLIP, **BY_SIZE}, **OF_CLIP),
    "llava_onevision": _of_pictures(
        "LlavaOnevision", "LlavaOnevision", {"size": SQUARE, **BY_SIZE}, num_image_tokens=16,
        vision_feature_select_strategy="full",
    ),
    "llava, pixtral": _of_pictures(
        "Pixtral", "Pixtral", {"patch_size": 8, "size": {"longest_edge": 32}}, patch_size=8
    ),
    "mistral3": _of_pictures(
        "Pixtral", "Pixtral", {"patch_size": 4, "size": {"longest_edge": 32}}, patch_size=4, spatial_merge_size=2
    ),
    "gemma3": _of_pictures("Gemma3", "Gemma3", {"size": SQUARE}, image_seq_length=4),
    "paligemma": _of_pictures("PaliGemma", "Siglip", {"size": SQUARE}),
    "idefics3": _of_pictures(
        "Idefics3", "Idefics3", {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}, image_seq_len=4
    ),
    "aya_vision": _of_pictures("AyaVision", "GotOcr2", {"size": SQUARE}, patch_size=8, img_size=16),
    "qwen2_vl": _of_patches("Qwen2VL"),
    "qwen2_5_vl": _of_patches("Qwen2_5_VL"),
    "qwen3_vl": _of_patches("Qwen3VL"),
    "qwen3_vl_moe": _of_patches("Qwen3VL"),
    "qwen3_5": _of_patches("Qwen3VL"),
    "glm4v": _of_patches("Glm4v"),
    "glm4v_moe": _of_patches("Glm4v"),
}  # fmt: skip
