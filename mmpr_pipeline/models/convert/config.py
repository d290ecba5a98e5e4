"""The config of an original checkpoint, read as plain data, as a native `InternVLConfig`."""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.models.convert.weights import Heads

_COPIED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "hidden_act", "initializer_range",
    "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
TEXT_TYPES = {"internlm2": "llama", "qwen2": "qwen2", "llama": "llama"}


def heads_of(original: dict[str, Any]) -> Heads:
    """How the language model's attention is divided."""
    text = original["llm_config"]
    query = text["num_attention_heads"]
    return Heads(query, text.get("num_key_value_heads") or query, text["hidden_size"] // query)


def text_type(original: dict[str, Any]) -> str:
    """The native type of the language model: InternLM2 computes what Llama does. Raises ConfigError for others."""
    kind = text_kind(original)
    if kind not in TEXT_TYPES:
        raise ConfigError(
            f"The language model of this checkpoint is {kind or 'not named'}.",
            remedy=f"Checkpoints with {', '.join(TEXT_TYPES)} can be converted.",
        )
    return TEXT_TYPES[kind]


def text_kind(original: dict[str, Any]) -> str:
    """The type of the language model as the checkpoint names it, small letters; empty where it does not."""
    text = original.get("llm_config") or {}
    kind = text.get("model_type") or ""
    if not kind and text.get("architectures"):
        kind = str(text["architectures"][0]).removesuffix("ForCausalLM").lower()
    return str(kind)


def native_config(original: dict[str, Any], image_token: int, tied: bool) -> Any:
    """The native config.

    `tied` says whether input and output embeddings are the same weight: by what the checkpoint holds, not by what its
    config says. It must be set at the top, whose default (True) wins over the text config's.
    """
    from transformers import AutoConfig, InternVLConfig

    text, kind = original["llm_config"], text_type(original)
    fields = {name: text[name] for name in _COPIED if text.get(name) is not None}
    # Rotary parameters in today's spelling; InternLM2 checkpoints scale dynamically past their context.
    scaling = dict(text.get("rope_scaling") or {})
    rope_kind = scaling.pop("type", scaling.pop("rope_type", "default"))
    fields["rope_parameters"] = {
        "rope_type": rope_kind,
        "rope_theta": float(text.get("rope_theta") or 10_000.0),
        **scaling,
    }
    fields["head_dim"] = heads_of(original).channels
    if kind == "llama":
        biased = bool(text.get("bias", text.get("attention_bias", False)))
        fields |= {"attention_bias": biased, "mlp_bias": bool(text.get("mlp_bias", False))}
    text_config = AutoConfig.for_model(kind, **fields, tie_word_embeddings=tied)
    return InternVLConfig(
        vision_config=_vision(original),
        text_config=text_config.to_dict(),
        image_token_id=image_token,
        image_seq_length=image_tokens(original),
        downsample_ratio=original.get("downsample_ratio", 0.5),
        vision_feature_layer=original.get("select_layer", -1),
        tie_word_embeddings=tied,
    )


def image_size(original: dict[str, Any]) -> int:
    """Side of a tile, px."""
    return int(original.get("force_image_size") or original["vision_config"]["image_size"])


def image_tokens(original: dict[str, Any]) -> int:
    """Tokens of a tile in the prompt."""
    side = image_size(original) // original["vision_config"]["patch_size"]
    return int(side**2 * original.get("downsample_ratio", 0.5) ** 2)


def _vision(original: dict[str, Any]) -> dict[str, Any]:
    vision = original["vision_config"]
    side, patch = image_size(original), vision["patch_size"]
    if original.get("ps_version", "v2") != "v2":
        raise ConfigError(
            "This checkpoint shuffles pixels in the old order.", remedy="InternVL2 and newer can be converted."
        )
    return {
        "hidden_size": vision["hidden_size"],
        "intermediate_size": vision["intermediate_size"],
        "num_hidden_layers": vision["num_hidden_layers"],
        "num_attention_heads": vision["num_attention_heads"],
        # What a config leaves out is as the authors' own class has it: the InternViT-6B.
        "attention_bias": bool(vision.get("qkv_bias", False)),
        "use_qk_norm": bool(vision.get("qk_normalization", True)),
        "norm_type": vision.get("norm_type", "rms_norm"),
        "layer_norm_eps": vision.get("layer_norm_eps", 1e-6),
        "hidden_act": vision.get("hidden_act", "gelu"),
        "image_size": [side, side],
        "patch_size": [patch, patch],
        "use_mean_pooling": True,  # no norm after the last layer, as in the original
    }
