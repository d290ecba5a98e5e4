"""One of two ranks: types of the zoo, fully sharded, must give the gradients of one process. Run by test_families.py.

The second rank has no image: its vision tower, with all that feeds the language model, must still take part.
"""

from __future__ import annotations

import torch

from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.policy.load import shard
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.world import World, connect
from tests.training import zoo


def compare(name: str, world: World) -> None:
    groups, images = zoo.groups(name)
    batches = [collate(groups[:2], images[:2]), collate(groups[2:], images[2:])]
    whole = PrefixSharedPolicy(zoo.model(name).train())
    scores = [whole(batch) for batch in batches]
    (torch.stack([each.responses.sum() + (each.imbalance or 0.0) for each in scores]).sum() / 2).backward()

    policy = shard(PrefixSharedPolicy(zoo.model(name).train()), world, torch.float32, zoo.blank(name))
    mine = policy(batches[world.rank])
    (mine.responses.sum() + (mine.imbalance or 0.0)).backward()
    largest = max(float(p.grad.abs().max()) for p in whole.parameters() if p.grad is not None)
    for (part, ours), expected in zip(policy.named_parameters(), whole.parameters(), strict=True):
        assert (ours.grad is None) <= (expected.grad is None), part
        if expected.grad is not None:
            found = ours.grad.full_tensor()  # type: ignore[union-attr]
            apart = float((found - expected.grad).abs().max()) / largest
            assert apart < 1e-5, (part, apart)
    print(name, "equal", flush=True)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    with connect("cpu") as world:
        for name in names:
            compare(name, world)
