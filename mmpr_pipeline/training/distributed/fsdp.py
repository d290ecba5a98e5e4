"""Fully sharded data parallelism (FSDP2), applied to the policy from outside, in one place.

Order matters: gradient checkpointing was set before; each layer becomes a unit that is gathered for its own forward
and backward; what is left (embeddings, output layer, projector) is gathered with the root.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.batch import ImageInputs
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy


def shard(
    policy: PrefixSharedPolicy, world: World, dtype: torch.dtype, blank: ImageInputs, over: int | None = None
) -> PrefixSharedPolicy:
    """Spread weights, gradients and optimizer state over all ranks; compute in `dtype`, keep and reduce in float32.

    `blank` are inputs of a small picture, by which a rank whose batch has no image takes part in the vision tower; one
    process alone does so, too: AdamW passes over what has no gradient, and would train otherwise than several ranks.
    With `over`, that many neighbouring ranks share one copy (those of a node, whose links are quick), and the copies
    add up their gradients once a micro-batch (HSDP). A single process on the CPU stays as it is. A policy without
    weights (see `weights.fill`) may be sharded, too. Raises ConfigError where the ranks cannot be divided so.
    """
    policy.blank = blank
    if not torch.distributed.is_initialized():
        return policy if any(p.is_meta for p in policy.parameters()) else policy.to(world.device)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    sizes = (world.size // over, over) if over else (world.size,)
    if math.prod(sizes) != world.size:
        raise ConfigError(
            f"{world.size} processes cannot be divided by {over}.",
            remedy="Let launch.shard_over be the processes of a node, or a divisor of all.",
        )
    mesh = init_device_mesh(world.device.type, sizes, mesh_dim_names=("copies", "shards")[-len(sizes) :])
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32) if dtype != torch.float32 else None
    options: dict[str, object] = {"mesh": mesh, **({"mp_policy": precision} if precision else {})}
    for layer in layers_of(policy):
        fully_shard(layer, **options)
    fully_shard(policy, **options)

    # FSDP gathers the root's weights for the forward and shards them again after the backward. A forward that no
    # backward follows (the reference's, an evaluation's) would leave them gathered: optimizer and checkpoints would
    # then take these copies for the weights, and train nothing in them.
    def shard_again(policy: Any, inputs: Any, outputs: Any) -> None:
        if not torch.is_grad_enabled():
            policy.reshard()

    policy.register_forward_hook(shard_again)
    register_fsdp_forward_method(policy, "generate")
    return policy


def layers_of(policy: PrefixSharedPolicy) -> list[nn.Module]:
    """The layers of the language model and of the vision tower: the members of their module lists."""
    parts = (policy.family.language_model(policy.bare), policy.family.vision(policy.bare))
    lists = [module for part in parts for module in part.modules() if isinstance(module, nn.ModuleList)]
    inner = {id(m) for outer in lists for layer in outer for m in layer.modules() if isinstance(m, nn.ModuleList)}
    return [layer for each in lists if id(each) not in inner for layer in each]
