"""What a forward keeps for its backward: memory against time, set from outside the model.

none       everything autograd asks for
matmuls    the results of matrix products and attention; the cheap rest (norms, activations, rotations, products)
           is computed again: about half of the memory for a few percent of time
full       each layer's input only; every layer is computed twice, a third more time, its MLP tile by tile
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.policy.families import family_of
from mmpr_pipeline.training.policy.tiled import recomputing, tile

Checkpointing = Literal["none", "matmuls", "full"]
Recompute = Literal["auto", "none", "matmuls", "full"]

_KEPT_NAMES = (
    "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.convolution",
    "aten._scaled_dot_product_flash_attention", "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_efficient_attention", "aten._scaled_dot_product_cudnn_attention",
    "aten._flash_attention_forward", "flex_attention",
)  # fmt: skip


def set_checkpointing(model: Any, kind: Checkpointing, vision: Checkpointing | None = None) -> None:
    """Set what the layers of a transformers model (bare, or wrapped by peft) keep while training; those of its vision
    tower `vision`, where that is another kind.

    Raises ConfigError for an unknown kind, or a model without support.
    """
    vision = vision or kind
    for each in (kind, vision):
        if each not in ("none", "matmuls", "full"):
            raise ConfigError(f"Unknown checkpointing {each!r}.", remedy="Use none, matmuls or full.")
    if {kind, vision} == {"none"}:
        tile(model, False)
        model.gradient_checkpointing_disable()
        return
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise ConfigError("This model cannot recompute its layers.", remedy="Set checkpointing to none.")
    tile(model, kind == "full")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=_options(kind))
    if vision == kind:
        return
    tower = family_of(model).vision(model)
    tile(tower, vision == "full")
    for module in tower.modules():  # as transformers' own switch does to every layer
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = vision != "none"
            module._gradient_checkpointing_func = partial(checkpoint, **_options(vision))
    if kind == "none":
        for module in family_of(model).language_model(model).modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = False


def _options(kind: Checkpointing) -> dict[str, object]:
    # Nothing in a layer is random: keeping the generators' state would cost a copy from the device a layer.
    contexts = partial(create_selective_checkpoint_contexts, _keep) if kind == "matmuls" else _whole
    return {"use_reentrant": False, "context_fn": contexts, "preserve_rng_state": False}


def _whole() -> Any:
    return nullcontext(), recomputing()


def _keep(context: Any, operator: Any, *args: Any, **kwargs: Any) -> Any:
    name = str(operator).rsplit(".", 1)[0] if isinstance(operator, torch._ops.OpOverload) else str(operator)
    return CheckpointPolicy.MUST_SAVE if name in _KEPT_NAMES else CheckpointPolicy.PREFER_RECOMPUTE
