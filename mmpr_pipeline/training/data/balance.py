"""Which rank computes what of a step, so that all ranks are busy until its end.

Ranks of a sharded model go through their micro-batches together: the k-th takes as long as the longest k-th of any
rank. So a step's questions are dealt out over all micro-batches of all ranks at once, the dearest first and each to the
emptiest; then the micro-batches are sorted, and the ranks take neighbours. Where few questions meet many ranks, a
question's pairs are divided among ranks as long as that makes the step shorter, though its prompt is computed again.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

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
    are images'. Pure and deterministic.

    Token counts may be estimates: what then exceeds the budget is packed anew by the rank itself (`data`).
    """
    pieces = [
        part
        for item, outline in enumerate(outlines)
        for part in _within(ItemSlice(item, 0, len(outline.pairs)), outline, budget, shares)
    ]

    def cost(piece: ItemSlice) -> int:
        return outlines[piece.item].tokens(piece.first, piece.stop, shares)

    def dealt(parts: Sequence[ItemSlice]) -> StepPlan:
        return _deal([(cost(part), outlines[part.item].images, part) for part in parts], ranks, budget, images)

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
            parts = [part for piece in pieces for part in (_halves(piece) if piece == divided else (piece,))]
            tried.append((dealt(parts), parts))
        now, pieces = min(tried, key=lambda entry: (entry[0].time, entry[0].tokens))
        attempts = 0 if now.time < best.time else attempts + 1
        best = min(best, now, key=lambda each: each.time)
    return best


def _within(piece: ItemSlice, outline: Outline, budget: int, shares: bool) -> list[ItemSlice]:
    """The piece, divided until each part is within the budget or a single pair."""
    if piece.stop - piece.first <= 1 or outline.tokens(piece.first, piece.stop, shares) <= budget:
        return [piece]
    return [part for half in _halves(piece) for part in _within(half, outline, budget, shares)]


def _halves(piece: ItemSlice) -> tuple[ItemSlice, ItemSlice]:
    middle = (piece.first + piece.stop) // 2
    return ItemSlice(piece.item, piece.first, middle), ItemSlice(piece.item, middle, piece.stop)


def _deal(costs: Sequence[tuple[int, int, ItemSlice]], ranks: int, budget: int, images: float) -> StepPlan:
    """The dearest first, each to the emptiest micro-batch; as few turns as the budgets allow. By tokens, and those of
    images among them."""
    ordered = sorted(costs, key=lambda entry: (-entry[0], entry[2].item, entry[2].first))
    total = sum(cost for cost, _, _ in costs)
    room = max(budget, ordered[0][0] if ordered else 0)
    gallery = max(images, max((image for _, image, _ in costs), default=0))
    turns = max(1, ceil(total / (ranks * budget)))
    while True:
        emptiest = [(0, number) for number in range(ranks * turns)]
        filled: list[list[ItemSlice]] = [[] for _ in emptiest]
        loads, hung = [0] * len(emptiest), [0] * len(emptiest)
        for cost, image, piece in ordered:
            load, number = heapq.heappop(emptiest)
            filled[number].append(piece)
            loads[number] = load + cost
            hung[number] += image
            heapq.heappush(emptiest, (load + cost, number))
        if (max(loads) <= room and max(hung) <= gallery) or turns * ranks > len(ordered):
            break
        turns += 1
    order = sorted(range(len(loads)), key=lambda number: (-loads[number], number))
    dealt = tuple(
        tuple(tuple(filled[order[turn * ranks + rank]]) for turn in range(turns) if filled[order[turn * ranks + rank]])
        for rank in range(ranks)
    )
    return StepPlan(dealt, sum(loads[order[turn * ranks]] for turn in range(turns)), total)
