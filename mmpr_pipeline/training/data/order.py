"""The order of the data, as a pure function of seed and step: which pairs of which questions an optimizer step takes,
and which rank computes what of them.

Shards are shuffled; `window` of them at a time are opened and their questions shuffled among each other. A question
with more than `together` pairs comes in several parts, spread evenly over the window: a step of 256 pairs is then of 64
questions at least, where the window holds enough of them. (The paper shuffles pairs; parts keep most of what sharing
saves.) The steps of an epoch take equally many pairs, give or take one, and at most `batch`: a last step of the few
that are left would count each of them many times over, and look like divergence. A part may be cut between two steps.
Since every shard holds the same mixture, a window's order is as good as one over everything, at bounded memory. Nothing
is kept of the way to a step: resuming at a step is asking for it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf


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
        step, per_epoch = start, self.steps_per_epoch
        begins = [sum(self.pairs) * number // per_epoch for number in range(per_epoch + 2)]  # pairs before each step
        while step < stop:
            epoch, within = divmod(step, per_epoch)
            taken: list[Slice] = []
            room = begins[within + 1] - begins[within]
            for group in self._groups(epoch, begins[within], sizes):
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
                        taken, room = [], begins[within + 1] - begins[within]
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


ATTEMPTS = 12  # divisions in a row that make nothing shorter
CANDIDATES = 4  # questions of which the best to divide is taken


@dataclass(frozen=True)
class Outline:
    """About how many tokens some pairs of one question are: the prompt's (images included), and for each pair chosen
    and rejected as (name of the response, tokens). `images`: how many of the prompt's are images'."""

    prompt: int
    pairs: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    images: int = 0

    def tokens(self, first: int, stop: int, shares: bool = True) -> int:
        """Of pairs `first` to `stop`: prompt and each distinct response once; without sharing a prompt a response."""
        responses = dict(response for pair in self.pairs[first:stop] for response in pair)
        return sum(responses.values()) + self.prompt * (1 if shares else len(responses))


@dataclass(frozen=True)
class ItemSlice:
    """Pairs `first` to `stop` of an item of the step."""

    item: int
    first: int
    stop: int

    def halves(self) -> tuple[ItemSlice, ItemSlice]:
        """Its first pairs, and the others."""
        middle = (self.first + self.stop) // 2
        return ItemSlice(self.item, self.first, middle), ItemSlice(self.item, middle, self.stop)


@dataclass(frozen=True)
class StepPlan:
    """`ranks[r]` are the micro-batches of rank r, the longest first; `time` is the sum of the longest of each turn."""

    ranks: tuple[tuple[tuple[ItemSlice, ...], ...], ...]
    time: int
    tokens: int

    @property
    def busy(self) -> float:
        """Share of the ranks' time that they compute."""
        return self.tokens / (len(self.ranks) * self.time) if self.time else 1.0


def plan(outlines: Sequence[Outline], ranks: int, budget: int, shares: bool = True, images: float = inf) -> StepPlan:
    """Deal a step's questions out to ranks and micro-batches of about `budget` tokens, of which at most about `images`
    are images', so that all ranks are busy until its end. Pure and deterministic.

    Ranks of a sharded model go through their micro-batches together: the k-th takes as long as the longest k-th of any
    rank. So a step's questions are dealt out over all micro-batches of all ranks at once, the dearest first and each to
    the emptiest; then the micro-batches are sorted, and the ranks take neighbours. Where few questions meet many ranks,
    a question's pairs are divided among ranks as long as that makes the step shorter, though its prompt is computed
    again. Token counts may be estimates: what then exceeds the budget is packed again by the rank itself (`stream`).
    """

    def cost(piece: ItemSlice) -> int:
        return outlines[piece.item].tokens(piece.first, piece.stop, shares)

    def dealt(parts: Sequence[ItemSlice]) -> StepPlan:
        """The dearest first, each to the emptiest micro-batch; as few turns as the budgets allow."""
        costs = [(cost(part), outlines[part.item].images, part) for part in parts]
        ordered = sorted(costs, key=lambda entry: (-entry[0], entry[2].item, entry[2].first))
        total = sum(tokens for tokens, _, _ in costs)
        room = max(budget, ordered[0][0] if ordered else 0)
        gallery = max(images, max((image for _, image, _ in costs), default=0))
        turns = max(1, ceil(total / (ranks * budget)))
        while True:
            emptiest = [(0, number) for number in range(ranks * turns)]
            filled: list[list[ItemSlice]] = [[] for _ in emptiest]
            loads, hung = [0] * len(emptiest), [0] * len(emptiest)
            for tokens, image, piece in ordered:
                load, number = heapq.heappop(emptiest)
                filled[number].append(piece)
                loads[number] = load + tokens
                hung[number] += image
                heapq.heappush(emptiest, (load + tokens, number))
            if (max(loads) <= room and max(hung) <= gallery) or turns * ranks > len(ordered):
                break
            turns += 1
        order = sorted(range(len(loads)), key=lambda number: (-loads[number], number))
        by_turn = [order[ranks * turn : ranks * (turn + 1)] for turn in range(turns)]
        of_ranks = tuple(
            tuple(tuple(filled[n]) for n in numbers if filled[n]) for numbers in zip(*by_turn, strict=True)
        )
        return StepPlan(of_ranks, sum(loads[numbers[0]] for numbers in by_turn), total)

    # Each question divided until a part is within the budget or a single pair.
    pieces: list[ItemSlice] = []
    waiting = [ItemSlice(item, 0, len(outline.pairs)) for item, outline in enumerate(outlines)]
    while waiting:
        piece = waiting.pop()
        if piece.stop - piece.first > 1 and cost(piece) > budget:
            waiting += piece.halves()
        else:
            pieces.append(piece)
    best = now = dealt(pieces)
    attempts = 0
    while len(pieces) < 4 * ranks and attempts < ATTEMPTS:
        # Of the longest micro-batches; a single long pair there must not stop the search.
        turns = sorted((turn for rank in now.ranks for turn in rank[:1]), key=lambda turn: -sum(map(cost, turn)))
        divisible = [piece for turn in turns for piece in turn if piece.stop - piece.first > 1][:CANDIDATES]
        if not divisible:
            break
        tried = []
        for divided in divisible:
            parts = [part for piece in pieces for part in (piece.halves() if piece == divided else (piece,))]
            tried.append((dealt(parts), parts))
        now, pieces = min(tried, key=lambda entry: (entry[0].time, entry[0].tokens))
        attempts = 0 if now.time < best.time else attempts + 1
        best = min(best, now, key=lambda each: each.time)
    return best
