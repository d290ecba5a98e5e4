"""Names and shapes of weights: original InternVL to transformers' `InternVLForConditionalGeneration`. Pure.

vision_model.encoder.layers.N.attn.qkv            q, k and v one after the other
mlp1.{0,1,3}                                      the projector's norm and two linear layers
language_model.model.layers.N.attention.wqkv      InternLM2: for each key/value head, its queries, its key, its value
language_model.model.layers.N.self_attn.q_proj    Qwen2 and Llama: as in transformers
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmpr_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

VISION, PROJECTOR, TEXT = "model.vision_tower.", "model.multi_modal_projector.", "model.language_model."
_IGNORED = re.compile(r"(rotary_emb\.inv_freq|\.position_ids)$")
_VISION_LAYER = {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.projection_layer",
    "attn.q_norm": "attention.q_norm", "attn.k_norm": "attention.k_norm", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
}  # fmt: skip
_EMBEDDINGS = {
    "class_embedding": "cls_token",
    "position_embedding": "position_embeddings",
    "patch_embedding.weight": "patch_embeddings.projection.weight",
    "patch_embedding.bias": "patch_embeddings.projection.bias",
}
_PROJECTOR = {"0": "layer_norm", "1": "linear_1", "3": "linear_2"}
_INTERNLM2_LAYER = {
    "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj", "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj", "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


@dataclass(frozen=True)
class Heads:
    """How the language model's attention is divided: query heads, key/value heads, channels of a head."""

    query: int
    kv: int
    channels: int


def convert_tensor(name: str, value: Tensor, heads: Heads) -> Iterator[tuple[str, Tensor]]:
    """The native names and values of one original tensor; none where it is only a constant of the code.

    Raises ConfigError for a name that is not of an InternVL with InternLM2, Qwen2 or Llama.
    """
    if _IGNORED.search(name):
        return
    part, _, rest = name.partition(".")
    known = {"vision_model": _vision, "mlp1": _projector, "language_model": _text}
    found = list(known[part](rest, value, heads)) if part in known else []
    if not found:
        raise ConfigError(
            f"The weight {name} is not of an InternVL with an InternLM2, Qwen2 or Llama language model.",
            remedy="Only these can be converted; others (Phi3) need another tool.",
        )
    yield from found


def _vision(name: str, value: Tensor, heads: Heads) -> Iterator[tuple[str, Tensor]]:
    if name.startswith("embeddings."):
        new = _EMBEDDINGS.get(name.removeprefix("embeddings."))
        if new:
            yield f"{VISION}embeddings.{new}", value
        return
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
    if not match:
        return
    layer, rest = f"{VISION}encoder.layer.{match[1]}.", match[2]
    if rest in ("ls1", "ls2"):
        yield f"{layer}lambda_{rest[-1]}", value
        return
    module, _, kind = rest.rpartition(".")
    if module == "attn.qkv":
        for letter, third in zip("qkv", value.chunk(3, 0), strict=True):
            yield f"{layer}attention.{letter}_proj.{kind}", third.contiguous()
    elif module in _VISION_LAYER:
        yield f"{layer}{_VISION_LAYER[module]}.{kind}", value


def _projector(name: str, value: Tensor, heads: Heads) -> Iterator[tuple[str, Tensor]]:
    number, _, kind = name.partition(".")
    if number in _PROJECTOR:
        yield f"{PROJECTOR}{_PROJECTOR[number]}.{kind}", value


def _text(name: str, value: Tensor, heads: Heads) -> Iterator[tuple[str, Tensor]]:
    if name in ("lm_head.weight", "output.weight"):
        yield "lm_head.weight", value
        return
    name = name.removeprefix("model.")
    if name in ("embed_tokens.weight", "tok_embeddings.weight"):
        yield f"{TEXT}embed_tokens.weight", value
        return
    module, _, kind = name.rpartition(".")
    match = re.fullmatch(r"layers\.(\d+)\.(.+)", module)
    if match is None:
        if name == "norm.weight":
            yield f"{TEXT}norm.weight", value
        return
    layer, rest = f"{TEXT}layers.{match[1]}.", match[2]
    if rest == "attention.wqkv":
        for letter, part in zip("qkv", split_wqkv(value, heads), strict=True):
            yield f"{layer}self_attn.{letter}_proj.{kind}", part
    elif rest in _INTERNLM2_LAYER:
        yield f"{layer}{_INTERNLM2_LAYER[rest]}.{kind}", value
    elif rest.startswith(("self_attn.", "mlp.", "input_layernorm", "post_attention_layernorm")):
        yield f"{layer}{rest}.{kind}", value


def split_wqkv(value: Tensor, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """InternLM2's joint weight, rows (key/value heads, queries of each + 2, channels), into those of q, k and v."""
    group = heads.query // heads.kv
    grouped = value.reshape(heads.kv, group + 2, heads.channels, *value.shape[1:])
    query, key, val = grouped[:, :group], grouped[:, group], grouped[:, group + 1]
    return (
        query.reshape(heads.query * heads.channels, *value.shape[1:]).contiguous(),
        key.reshape(heads.kv * heads.channels, *value.shape[1:]).contiguous(),
        val.reshape(heads.kv * heads.channels, *value.shape[1:]).contiguous(),
    )
