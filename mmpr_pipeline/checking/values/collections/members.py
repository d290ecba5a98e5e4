"""Members of two collections compared, in order or as sets; how two members compare is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from mmpr_pipeline.checking.values.context import Decision
from mmpr_pipeline.checking.values.expression import Expr, tree_size

MAX_WORK = 30_000  # Nodes that matching without order may have to look at.
MAX_ITEMS = 30  # Longest list that is matched without order.
Decide = Callable[[Expr, Expr], Decision]


def all_of(decisions: Sequence[Decision], rule: str) -> Decision:
    """All decisions as one: false where one is, in doubt where one is, else true by `rule`."""
    for decision in decisions:
        if decision[0] is False:
            return decision
    for decision in decisions:
        if decision[0] is None:
            return decision
    return True, rule


def members_in_order(ones: Sequence[Expr], others: Sequence[Expr], decide: Decide, rule: str) -> Decision:
    """Members compared one by one, in their order."""
    if len(ones) != len(others):
        return False, "other_length"
    results: list[Decision] = []
    for one, other in zip(ones, others, strict=True):
        results.append(decide(one, other))
        if results[-1][0] is False:
            break
    return all_of(results, rule)


def in_order_only(ones: Sequence[Expr], others: Sequence[Expr], decide: Decide) -> Decision:
    """One side has an order or names, the other has not: the same order is a match, another order is in doubt."""
    decision = members_in_order(ones, others, decide, "same_in_order")
    if decision[0] is False and len(ones) == len(others):
        return (None, "other_order") if match_unordered(ones, others, decide)[0] else decision
    return decision


def match_unordered(ones: Sequence[Expr], others: Sequence[Expr], decide: Decide) -> Decision:
    """Collections without order: each gold has its own match. Repeats count only where the gold repeats itself."""
    if max(len(ones), len(others)) > MAX_ITEMS:
        ones, others = _without_equals(ones, others)
    if max(len(ones), len(others)) > MAX_ITEMS:
        return members_in_order(ones, others, decide, "same_in_order")
    if sum(map(tree_size, ones)) * len(others) + sum(map(tree_size, others)) * len(ones) > MAX_WORK:
        return None, "too_large"
    ones, others = _without_equals(ones, others) if len(ones) == len(others) else (ones, others)
    table = [[decide(one, other)[0] for other in others] for one in ones]
    if len(ones) != len(others):
        # Different lengths: the same set only where one side merely repeats a member.
        if not ones or not others:
            return False, "other_length"
        covered = all(any(row) for row in table) and all(any(row[j] for row in table) for j in range(len(others)))
        if covered and len(ones) > len(others) and all(item.op == "paren" for item in others):
            return True, "same_members"
        return (None, "repeated_member") if covered else (False, "other_length")
    used: set[int] = set()
    doubt = False
    for row in table:
        free = [j for j, verdict in enumerate(row) if j not in used and verdict]
        if free:
            used.add(free[0])
        elif any(verdict is None for verdict in row):
            doubt = True
        else:
            return False, "other_members"
    return (None, "member_in_doubt") if doubt else (True, "same_members")


def _without_equals(ones: Sequence[Expr], others: Sequence[Expr]) -> tuple[list[Expr], list[Expr]]:
    """What is left of two collections when members with the same tree are taken out pair by pair."""
    left, right = Counter(ones), Counter(others)
    return list((left - right).elements()), list((right - left).elements())
