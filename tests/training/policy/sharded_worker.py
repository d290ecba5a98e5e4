"""One of two ranks: a fully sharded policy (FSDP2, gloo) must give the gradients of the unsharded one, exactly.

The second rank has no image: its vision tower must still take part. Run by test_sharded.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.world import connect
from tests.training import tiny


def compare(rank: int, checkpointing: bool) -> None:
    groups, images = tiny.several_groups()
    batches = [collate(groups[:3], images[:3]), collate(groups[3:], images[3:])]
    whole = PrefixSharedPolicy(tiny.internvl().train())
    (sum(whole(batch).responses.sum() for batch in batches) / 2).backward()

    model = tiny.internvl().train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = PrefixSharedPolicy(model)
    policy.blank = images[0]
    mesh = init_device_mesh("cpu", (2,))
    for layer in [*model.model.language_model.layers, *model.model.vision_tower.encoder.layer]:
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh)
    policy(batches[rank]).responses.sum().backward()
    expected = {name: p.grad for name, p in whole.named_parameters() if p.grad is not None}
    for name, parameter in policy.named_parameters():
        ours = parameter.grad.full_tensor()  # type: ignore[union-attr]
        torch.testing.assert_close(ours, expected.pop(name), rtol=1e-5, atol=1e-5)
    assert not expected


def starve_gloo() -> None:
    """Let gloo's threads run only where nothing else would: what they still do after a collective, they do late."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[dist.get_rank() % len(cores)]})
    threads = [task for task in Path("/proc/self/task").iterdir() if "gloo" in (task / "comm").read_text()]
    assert threads
    for task in threads:
        os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))


def main(arguments: Sequence[str] = ()) -> None:
    torch.set_num_threads(1)
    with connect("cpu") as world:
        compare(world.rank, checkpointing=False)
        compare(world.rank, checkpointing=True)
        starve_gloo()
        compare(world.rank, checkpointing=False)
