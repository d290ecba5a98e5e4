"""Tiny models with random weights for vLLM, in both formats of InternVL."""

from __future__ import annotations

import json
from pathlib import Path

TEXTS = [
    "How many circles are in row 2? There are 3 circles.",
    "Think step by step, then end with a line of the form: Final answer: 30",
    "请一步一步推理，并在最后一行写出：最终答案：答案",
] * 20


def native(directory: Path) -> Path:
    """The transformers-native format: the embedded model's architecture, untrained."""
    from mmpr_pipeline.nano.model import make_model, make_tokenizer, nano_processor

    tokenizer = make_tokenizer(TEXTS)
    make_model(tokenizer, seed=0).save_pretrained(directory)
    nano_processor(tokenizer).save_pretrained(directory)
    return directory


_REMOTE_CONFIG = """
from transformers import PretrainedConfig, Qwen2Config


class InternVisionConfig(PretrainedConfig):
    model_type = "intern_vit_6b"


class InternVLChatConfig(PretrainedConfig):
    model_type = "internvl_chat"
    has_no_defaults_at_init = True

    def __init__(self, vision_config=None, llm_config=None, **fields):
        self.vision_config = InternVisionConfig(**(vision_config or {}))
        self.llm_config = Qwen2Config(**(llm_config or {}))
        super().__init__(**fields)

    def get_text_config(self, *args, **fields):
        return self.llm_config
"""
_STRING_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def original(directory: Path) -> Path:
    """The original InternVL2 format: remote config code, a chat template that takes strings; no weights at all."""
    from transformers import PreTrainedTokenizerFast

    from mmpr_pipeline.nano.model import make_tokenizer

    directory.mkdir()
    made = make_tokenizer(TEXTS)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=_STRING_TEMPLATE,
    )
    tokenizer.save_pretrained(directory)
    vision = {
        "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128,
        "image_size": 112, "patch_size": 14, "num_channels": 3, "qkv_bias": True, "qk_normalization": False,
        "norm_type": "layer_norm", "layer_norm_eps": 1e-6, "hidden_act": "gelu", "initializer_factor": 1.0,
        "use_flash_attn": False, "drop_path_rate": 0.0, "attention_dropout": 0.0, "dropout": 0.0,
        "initializer_range": 0.02, "model_type": "intern_vit_6b",
    }  # fmt: skip
    text = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 128, "vocab_size": len(tokenizer),
        "max_position_embeddings": 1024, "tie_word_embeddings": False, "torch_dtype": "float32",
    }  # fmt: skip
    config = {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
        "vision_config": vision,
        "llm_config": text,
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": 112,
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "use_thumbnail": True,
        "pad2square": False,
        "torch_dtype": "float32",
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "configuration_internvl_chat.py").write_text(_REMOTE_CONFIG)
    return directory
