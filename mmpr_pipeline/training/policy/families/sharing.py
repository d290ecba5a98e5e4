"""Which models prefix sharing computes: decoders whose attention is transformers' exchangeable function."""

from __future__ import annotations

from typing import Any

from torch import nn

ATTENTION = {"full_attention", "sliding_attention"}
_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier")


def not_shareable(model: Any, language: Any) -> list[str]:
    """What keeps a model from sharing prefixes, in words; empty where nothing is known to.

    A model may still compute something of its own that no config names: types outside of `families.CHECKED` are
    compared with their own forward before training.
    """
    text = language.config
    found = []
    if other := sorted(set(getattr(text, "layer_types", None) or []) - ATTENTION):
        found.append(f"layers of type {', '.join(other)}")
    if not getattr(language, "_supports_attention_backend", False):
        found.append("attention that cannot be exchanged")
    if any(getattr(text, name, None) for name in ("final_logit_softcapping", "attn_logit_softcapping")):
        found.append("soft-capped logits")
    if any(getattr(text, name, None) not in (None, 1, 1.0) for name in _SCALES):
        found.append("scaled logits")
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None:
        found.append(f"the output layer {type(head).__name__} (a plain linear one without bias is computed)")
    return found
