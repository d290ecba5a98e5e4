"""What a forward keeps for its backward: memory against time, set from outside the model.

none       everything autograd asks for
matmuls    the results of matrix products and attention; the cheap rest (norms, activations, rotations, products)
           is computed again: about half of the memory for a few percent of time
full       each layer's input only; every layer is computed twice, a third more time, its MLP tile by tile
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.policy.tiled import recomputing, tile

Checkpointing = Literal["none", "matmuls", "full"]

_KEPT_NAMES = (
    "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.convolution",
    "aten._scaled_dot_product_flash_attention", "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_efficient_attention", "aten._scaled_dot_product_cudnn_attention",
    "aten._flash_attention_forward", "flash_attn._flash_attn_varlen_forward", "flex_attention",
)  # fmt: skip


def set_checkpointing(model: Any, kind: Checkpointing) -> None:
    """Set what the layers of a transformers model (bare, or wrapped by peft) keep while training.

    Raises ConfigError for an unknown kind, or a model without support.
    """
    if kind not in ("none", "matmuls", "full"):
        raise ConfigError(f"Unknown checkpointing {kind!r}.", remedy="Use none, matmuls or full.")
    tile(model, kind == "full")
    if kind == "none":
        model.gradient_checkpointing_disable()
        return
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise ConfigError("This model cannot recompute its layers.", remedy="Set checkpointing to none.")
    contexts = _selective if kind == "matmuls" else _whole
    # Nothing in a layer is random: keeping the generators' state would cost a copy from the device a layer.
    options: dict[str, Any] = {"use_reentrant": False, "context_fn": contexts, "preserve_rng_state": False}
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)


def _whole() -> Any:
    return nullcontext(), recomputing()


def _selective() -> Any:
    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    return create_selective_checkpoint_contexts(_keep)


def _keep(context: Any, operator: Any, *args: Any, **kwargs: Any) -> Any:
    from torch.utils.checkpoint import CheckpointPolicy

    name = str(operator).rsplit(".", 1)[0] if isinstance(operator, torch._ops.OpOverload) else str(operator)
    return CheckpointPolicy.MUST_SAVE if name in _KEPT_NAMES else CheckpointPolicy.PREFER_RECOMPUTE
