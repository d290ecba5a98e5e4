"""Tokenizer, chat template and image processor of an original checkpoint, as a native processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.models.convert.config import image_size, image_tokens
from mmpr_pipeline.models.messages import MAX_TILES

IMAGE_TOKENS = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
VIDEO_TOKEN = "<video>"
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# ChatML with images as parts: what InternVL2 and 2.5 were trained with, whatever their language model.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'video' %}<video>\n{% else %}<IMG_CONTEXT>\n{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


_PROBES = ("Think step by step: 3 + 4 = 7.", " two  spaces", "Final answer: 12\n", "请一步一步推理", "(A) left")


def native_processor(folder: Path, original: dict[str, Any]) -> Any:
    """The native processor of an original checkpoint."""
    from mmpr_pipeline.models.torchvision_cpu import install

    install()
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    size = {"height": image_size(original), "width": image_size(original)}
    scaled = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "size": size}
    most = int(original.get("max_dynamic_patch") or MAX_TILES)
    tokenizer = load_tokenizer(folder)
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(crop_to_patches=True, min_patches=1, max_patches=most, **scaled),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(**scaled),
        image_seq_length=image_tokens(original),
        chat_template=tokenizer.chat_template,
    )


def load_tokenizer(folder: Path) -> Any:
    """The checkpoint's tokenizer without its code, with the image tokens named and ChatML for images.

    Raises ConfigError where there is none that can be read, or where it does not know the image tokens.
    """
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    path = folder / "tokenizer_config.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    settings = found if isinstance(found, dict) else {}
    if (folder / "tokenizer.json").is_file():
        named = {name: settings[name] for name in _ROLES if settings.get(name)}
        roles = {name: str(token["content"] if isinstance(token, dict) else token) for name, token in named.items()}
        tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **roles)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        tokenizer = Qwen2Tokenizer.from_pretrained(folder, trust_remote_code=False)
    elif (folder / "tokenizer.model").is_file():
        tokenizer = _from_sentencepiece(folder)
    else:
        raise ConfigError(
            f"{folder} holds no tokenizer that can be read without its code.",
            remedy="It needs tokenizer.json, vocab.json with merges.txt, or tokenizer.model.",
        )
    known = tokenizer.get_vocab()
    if missing := [token for token in (*IMAGE_TOKENS.values(), "<|im_end|>") if token not in known]:
        raise ConfigError(
            f"The tokenizer of {folder} does not know {', '.join(missing)}.", remedy="Is this an InternVL checkpoint?"
        )
    # The tokenizer as a plain fast one that names the image tokens.
    video = VIDEO_TOKEN if VIDEO_TOKEN in tokenizer.get_vocab() else IMAGE_TOKENS["context_image_token"]
    roles = {name: getattr(tokenizer, name) for name in _ROLES if getattr(tokenizer, name, None)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        **roles,
        extra_special_tokens={**IMAGE_TOKENS, "video_token": video},
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")


def _from_sentencepiece(folder: Path) -> Any:
    """InternLM2's tokenizer. Raises ConfigError where the fast form would split texts otherwise than the model does."""
    import sentencepiece
    from transformers import LlamaTokenizer

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    wanted = [pieces.encode(text) for text in _PROBES]
    for prefix_space, legacy in ((False, False), (True, True), (True, False)):
        tokenizer = LlamaTokenizer.from_pretrained(
            folder, add_prefix_space=prefix_space, legacy=legacy, trust_remote_code=False
        )
        if [tokenizer.encode(text, add_special_tokens=False) for text in _PROBES] == wanted:
            return tokenizer
    raise ConfigError(
        f"The sentencepiece tokenizer of {folder} cannot be converted exactly.",
        remedy="Please report the model's name.",
    )
