"""Prefix-shared attention as an attention function of transformers' registry.

transformers hands every attention layer's query, key and value to a function looked up by name, together with any
extra keyword of the model's forward. So no model is patched: ours is registered under `NAME`, and a `SharedLayout`
rides along as `shared=`. Masks need no building either: for a name without a mask function transformers builds none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.tree_layout import SharedLayout
from mmpr_pipeline.training.policy.kernels import attend

NAME = "mmpr_shared_prefix"


def shared_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared: SharedLayout | None = None,
    sliding_window: int | None = None,
    blocks: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered function. query (1, H, T, D), key and value (1, H_kv, T, D) -> (1, T, H, D), no weights.

    Raises TrainingError where the layout is missing (the model was called outside `PrefixSharedPolicy`), and
    ConfigError for attention that it does not compute: soft-capping, sinks, a cache. `blocks`: see
    `attend`.
    """
    if shared is None:
        raise TrainingError(
            "The model's attention is set to shared prefixes, and was called without a layout.",
            remedy="Score through PrefixSharedPolicy, or call its `release` before using the model otherwise.",
        )
    refused = [name for name in ("softcap", "s_aux") if kwargs.get(name) is not None]
    if refused or key.shape[2] != query.shape[2]:
        raise ConfigError(
            f"Prefix sharing does not compute attention with {', '.join(refused) or 'a cache'}.",
            remedy="Use a model without it.",
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    return attend(query, key, value, shared, scale, sliding_window, blocks), None
