"""Packing groups into micro-batches of a token budget, without padding and always in the same way.

A micro-batch is several groups end to end. Its cost is the tokens that a forward computes (prompts once, responses
once, shared beginnings once). Image tokens are among them, in a fixed ratio to the vision tower's work, so that one
budget bounds both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.groups import Group, IndexedPair, prefix_tree, subgroup


def pack(groups: Iterable[Group], budget: int) -> Iterator[list[Group]]:
    """Micro-batches of at most `budget` tokens, groups in the order given (so that a stream is packed as it comes).

    Groups must fit the budget each: see `fit`. Raises ConfigError for one that does not.
    """
    batch: list[Group] = []
    used = 0
    for group in groups:
        cost = prefix_tree(group).tokens
        if cost > budget:
            raise ConfigError(
                f"The group of question {group.question_id} has {cost} tokens, the budget is {budget}.",
                remedy="Split groups with `fit` first, or raise the token budget.",
            )
        if batch and used + cost > budget:
            yield batch
            batch, used = [], 0
        batch.append(group)
        used += cost
    if batch:
        yield batch


def fit(group: Group, budget: int) -> tuple[list[Group], list[tuple[IndexedPair, str]]]:
    """Cut a group into groups of at most `budget` tokens, and name the pairs that fit into none.

    Pairs stay in order; each part takes pairs as long as they fit. A pair that is too long even alone comes back with
    its reason, `pair_over_budget`, or `prompt_over_budget` where the prompt leaves no room for any response.
    """
    if prefix_tree(group).tokens <= budget:
        return [group], []
    reason = "prompt_over_budget" if len(group.prompt) >= budget else "pair_over_budget"
    parts: list[list[IndexedPair]] = []
    rejected = []
    for pair in group.pairs:
        if prefix_tree(subgroup(group, [pair])).tokens > budget:
            rejected.append((pair, reason))
        elif parts and prefix_tree(subgroup(group, [*parts[-1], pair])).tokens <= budget:
            parts[-1].append(pair)
        else:
            parts.append([pair])
    return [subgroup(group, part) for part in parts], rejected
