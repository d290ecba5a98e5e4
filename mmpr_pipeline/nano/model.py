"""The tiny InternVL: its tokenizer, processor, configuration and initial weights.

The architecture is transformers' own InternVL (`InternVLForConditionalGeneration`), as vLLM serves it: tiles of 112 px
in patches of 14 px, four patches to a visual token, so 16 visual tokens a tile; attention heads of 32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mmpr_pipeline.models.torchvision_cpu import install
from mmpr_pipeline.sources.generated.shapes import SIDE

if TYPE_CHECKING:
    import torch
    from transformers import InternVLForConditionalGeneration, InternVLProcessor, PreTrainedTokenizerFast

PATCH = 14  # px
VISUAL_TOKENS = 16  # a tile
MAX_TILES = 12
CONTEXT = 4096  # tokens
VOCABULARY = 640
SPECIALS = {
    "pad_token": "<|endoftext|>",
    "eos_token": "<|im_end|>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
START = "<|im_start|>"
# An image part is the context token and a line break; parts of text are trimmed, so `<image>\n` cut at its mark fits.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}"
    "{{ part['text'] | trim if message['role'] == 'user' else part['text'] }}"
    "{% else %}<IMG_CONTEXT>\n{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `VOCABULARY` tokens trained on `texts`; any text can be encoded, each digit is one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    pieces = Regex(r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*SPECIALS.values(), START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    chats = [f"user\n{text}\nassistant\n" for text in texts]
    tokenizer.train_from_iterator(chats, trainer)
    image_tokens = {name: token for name, token in SPECIALS.items() if "image" in name or "video" in name}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIALS["pad_token"],
        eos_token=SPECIALS["eos_token"],
        extra_special_tokens=image_tokens,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def nano_processor(tokenizer: PreTrainedTokenizerFast) -> InternVLProcessor:
    """Images to tiles (at most `MAX_TILES`, and a thumbnail) of values in -1..1, texts to tokens."""
    install()
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    size = {"height": SIDE, "width": SIDE}
    half = [0.5, 0.5, 0.5]
    images = GotOcr2ImageProcessor(
        size=size, crop_to_patches=True, min_patches=1, max_patches=MAX_TILES, image_mean=half, image_std=half
    )
    videos = InternVLVideoProcessor(size=size, image_mean=half, image_std=half)
    return InternVLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=videos,
        image_seq_length=VISUAL_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> InternVLForConditionalGeneration:
    """The model with fresh weights in fp32; about 1.5 M parameters."""
    install()
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    vision: dict[str, object] = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "image_size": [SIDE, SIDE],
        "patch_size": [PATCH, PATCH],
        "attention_bias": True,
        "layer_scale_init_value": 1.0,
    }
    text: dict[str, object] = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "intermediate_size": 384,
        "max_position_embeddings": CONTEXT,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids(SPECIALS["context_image_token"]),
        image_seq_length=VISUAL_TOKENS,
        tie_word_embeddings=False,  # the top level wins over text_config, and its default is True
    )
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config)
    _initialise(model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _initialise(model: InternVLForConditionalGeneration) -> None:
    """Weights at 1/sqrt(fan-in) and 2-D sin-cos positions; with the library's own, vision did not ground at all."""
    import torch

    for name, weight in model.named_parameters():
        if name.endswith("position_embeddings"):
            side = SIDE // PATCH
            weight.data[0, 1:] = _sin_cos(side, weight.shape[-1])
        elif "embed_tokens" in name:
            torch.nn.init.normal_(weight, std=0.5)
        elif "lm_head" in name:
            torch.nn.init.normal_(weight, std=0.02)
        elif weight.ndim > 1 and "cls_token" not in name:
            torch.nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()))


def _sin_cos(side: int, width: int) -> torch.Tensor:
    """2-D sin-cos position embeddings, (side * side, width), row by row."""
    import torch

    frequencies = 1 / 100 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies[None]
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = line[:, None].expand(side, side, -1)
    columns = line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width)
