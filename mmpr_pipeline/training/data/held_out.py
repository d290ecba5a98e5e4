"""Questions that are never trained on, to measure on: chosen by content, the same in every process and every resume.

Every shard holds the same mixture, so they come from as few shards as needed, and only those are opened for it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.shards import Shards


@dataclass(frozen=True)
class HeldOut:
    """Groups of each shard that are held out, and how many pairs these are."""

    groups: Mapping[int, frozenset[int]] = field(default_factory=dict)
    pairs: Mapping[int, int] = field(default_factory=dict)

    def left(self, shard: int, sizes: Sequence[int]) -> list[int]:
        """Pairs of each group of a shard to train on: 0 for those held out."""
        out = self.groups.get(shard, frozenset())
        return [0 if group in out else size for group, size in enumerate(sizes)]

    def slices(self, shards: Shards) -> list[Slice]:
        """What is held out, in order."""
        return [
            Slice(shard, group, 0, shards[shard].sizes[group])
            for shard in sorted(self.groups)
            for group in sorted(self.groups[shard])
        ]


def hold_out(shards: Shards, share: float, most: int, seed: int) -> HeldOut:
    """Whole questions with about `share` of all pairs, at most `most`, and at most half of a shard's.

    Pairs of the same question text and images belong together, in whatever form it was asked. Empty where the share is
    less than a pair.
    """
    wanted = min(round(share * sum(shards.pairs)), most)
    groups: dict[int, frozenset[int]] = {}
    pairs: dict[int, int] = {}
    order = list(range(len(shards.pairs)))
    random.Random(f"held out/{seed}").shuffle(order)
    for shard in order:
        if wanted <= 0:
            break
        sizes, quota = shards[shard].sizes, min(wanted, shards.pairs[shard] // 2)
        taken, count = set[int](), 0
        # Groups of each question of a shard, in an order that only its content and the seed decide.
        found: dict[str, list[int]] = {}
        for group, (text, images) in enumerate(shards[shard].questions):
            found.setdefault(content_id(str(seed), text, *images), []).append(group)
        for question in [found[name] for name in sorted(found)]:
            size = sum(sizes[group] for group in question)
            if count + size <= quota:
                taken.update(question)
                count += size
        if taken:
            groups[shard], pairs[shard] = frozenset(taken), count
            wanted -= count
    return HeldOut(groups, pairs)
