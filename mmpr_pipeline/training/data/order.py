"""The order of the data, as a pure function of seed and step: which pairs of which questions an optimizer step takes.

Shards are shuffled; `window` of them at a time are opened and their questions shuffled among each other. A question
with more than `together` pairs comes in several parts, spread evenly over the window: a step of 256 pairs is then of 64
questions at least, where the window holds enough of them. (The paper shuffles pairs; parts keep most of what sharing
saves.) The steps of an epoch take equally many pairs, give or take one, and at most `batch`: a last step of the few
that are left would count each of them many times over, and look like divergence. A part may be cut between two steps.
Since every shard holds the same mixture, a window's order is as good as one over everything, at bounded memory. Nothing
is kept of the way to a step: resuming at a step is asking for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Slice:
    """Pairs `first` to `stop` (exclusive) of one question: number `group` of a shard."""

    shard: int
    group: int
    first: int
    stop: int

    def part(self, first: int, stop: int) -> Slice:
        """Some of its pairs, counted from its own first."""
        return Slice(self.shard, self.group, self.first + first, self.first + stop)


@dataclass(frozen=True)
class Order:
    """`pairs` of each shard; `batch` pairs a step; at most `together` pairs of a question side by side."""

    pairs: tuple[int, ...]
    batch: int
    seed: int = 0
    window: int = 8
    together: int = 4

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the data."""
        return -(-sum(self.pairs) // self.batch)

    def steps(self, start: int, stop: int, sizes: Callable[[int], Sequence[int]]) -> Iterator[tuple[int, list[Slice]]]:
        """Steps `start` to `stop` (exclusive), counted over all epochs; `sizes(shard)`: pairs of each of its groups.

        `sizes` is asked only for shards that are needed, in the order of their use.
        """
        step = start
        while step < stop:
            epoch, within = divmod(step, self.steps_per_epoch)
            taken: list[Slice] = []
            room = self._begin(within + 1) - self._begin(within)
            for group in self._groups(epoch, self._begin(within), sizes):
                first = group.first
                while first < group.stop:
                    end = min(group.stop, first + room)
                    taken.append(Slice(group.shard, group.group, first, end))
                    room -= end - first
                    first = end
                    if not room:
                        yield step, taken
                        step, within = step + 1, within + 1
                        if step == stop:
                            return
                        taken, room = [], self._begin(within + 1) - self._begin(within)
            if taken:
                yield step, taken
                step += 1

    def _groups(self, epoch: int, skip: int, sizes: Callable[[int], Sequence[int]]) -> Iterator[Slice]:
        """The epoch's questions in order, without the first `skip` pairs."""
        shards = list(range(len(self.pairs)))
        random.Random(f"shards/{self.seed}/{epoch}").shuffle(shards)
        for number in range(0, len(shards), self.window):
            block = shards[number : number + self.window]
            total = sum(self.pairs[shard] for shard in block)
            if skip >= total:  # windows already done are not even opened
                skip -= total
                continue
            rng = random.Random(f"groups/{self.seed}/{epoch}/{number}")
            # Even parts of every question, each with its place in the window, from 0 to 1: equally far from each other.
            parts: list[tuple[float, Slice]] = []
            groups = [(shard, group, size) for shard in block for group, size in enumerate(sizes(shard)) if size]
            for shard, group, size in groups:
                place, count = rng.random(), -(-size // self.together)
                bounds = pairwise(size * i // count for i in range(count + 1))
                parts += [((i + place) / count, Slice(shard, group, *bound)) for i, bound in enumerate(bounds)]
            for _, part in sorted(parts, key=lambda part: part[0]):
                first = min(part.first + skip, part.stop)
                skip -= first - part.first
                if first < part.stop:
                    yield Slice(part.shard, part.group, first, part.stop)

    def _begin(self, within: int) -> int:
        """Pairs of an epoch before its step number `within`."""
        return sum(self.pairs) * within // self.steps_per_epoch
