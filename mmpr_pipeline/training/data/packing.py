"""Packing groups into micro-batches of a token budget, always in the same way.

The cost of a micro-batch is the tokens that a forward computes: prompts once, responses once, shared beginnings once;
on the plain path a row for each response, padded to the longest. Image tokens are among them, in a fixed ratio to the
vision tower's work, so that one budget bounds both; a large tower can have a bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.groups import Group, IndexedPair, prefix_tree, subgroup


@dataclass(frozen=True)
class Size:
    """Of one or several groups: tokens with sharing; rows and the longest of them without."""

    shared: int
    rows: int
    longest: int

    def __add__(self, other: Size) -> Size:
        return Size(self.shared + other.shared, self.rows + other.rows, max(self.longest, other.longest))

    def tokens(self, shares: bool) -> int:
        """What a forward computes."""
        return self.shared if shares else self.rows * self.longest


def size_of(group: Group) -> Size:
    """The size of a group."""
    longest = len(group.prompt) + max(map(len, group.responses))
    return Size(prefix_tree(group).tokens, len(group.responses), longest)


@dataclass(frozen=True)
class ImageBudget:
    """Most image tokens of a micro-batch, and the token that is one. A question's own images stay together."""

    most: float = inf
    token: int = -1


def pack(
    groups: Iterable[Group], budget: int, shares: bool = True, images: ImageBudget | None = None
) -> Iterator[list[Group]]:
    """Micro-batches of at most `budget` tokens, groups in the order given (so that a stream is packed as it comes).

    Groups must fit the budget each: see `fit_group`. Raises ConfigError for one that does not.
    """
    batch: list[Group] = []
    used, seen = Size(0, 0, 0), 0
    images = images or ImageBudget()
    for group in groups:
        size = size_of(group)
        if size.tokens(shares) > budget:
            raise ConfigError(
                f"The group of question {group.question_id} has {size.tokens(shares)} tokens, the budget is {budget}.",
                remedy="Split groups with `fit_group` first, or raise the token budget.",
            )
        more = group.prompt.count(images.token)
        if batch and ((used + size).tokens(shares) > budget or seen + more > images.most):
            yield batch
            batch, used, seen = [], Size(0, 0, 0), 0
        batch.append(group)
        used, seen = used + size, seen + more
    if batch:
        yield batch


def fit_group(group: Group, budget: int, shares: bool = True) -> tuple[list[Group], list[tuple[IndexedPair, str]]]:
    """Cut a group into groups of at most `budget` tokens, and name the pairs that fit into none.

    Pairs stay in order; each part takes pairs as long as they fit. A pair that is too long even alone comes back with
    its reason, `pair_over_budget`, or `prompt_over_budget` where the prompt leaves no room for any response.
    """

    def fits(pairs: list[IndexedPair]) -> bool:
        return size_of(subgroup(group, pairs)).tokens(shares) <= budget

    if size_of(group).tokens(shares) <= budget:
        return [group], []
    reason = "prompt_over_budget" if len(group.prompt) >= budget else "pair_over_budget"
    parts: list[list[IndexedPair]] = []
    rejected = []
    for pair in group.pairs:
        if not fits([pair]):
            rejected.append((pair, reason))
        elif parts and fits([*parts[-1], pair]):
            parts[-1].append(pair)
        else:
            parts.append([pair])
    return [subgroup(group, part) for part in parts], rejected
