from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.core.errors import ConfigError, ItemRejected
from mmpr_pipeline.core.records import PreferencePair
from mmpr_pipeline.training.data.groups import (
    Group,
    IndexedPair,
    fit_group,
    make_group,
    pack,
    prefix_tree,
    subgroup,
)

PROMPT = (1, 2, 3)


def pair(name: str, chosen: str, rejected: str, question: str = "q", **changes: object) -> PreferencePair:
    fields: dict[str, object] = {
        "pair_id": name,
        "question_id": question,
        "source": "s",
        "source_id": "1",
        "strategy": "correctness",
        "question": "how many?",
        "prompt": "<image>\nhow many?",
        "images": ("i1",),
        "chosen": chosen,
        "rejected": rejected,
        "answer": "3",
        "chosen_answer": "3",
        "rejected_answer": "4",
        **dict.fromkeys(["chosen_tokens", "rejected_tokens", "prompt_tokens", "chosen_index", "rejected_index"], 0),
        **dict.fromkeys(["shared_chars", "seed", "rejected_seed"], 0),
        **dict.fromkeys(["chosen_rule", "rejected_rule", "model", "rejected_model", "prompt_version", "checker"], "x"),
        "kind": "number",
        "language": "en",
        **changes,
    }
    return PreferencePair.model_validate(fields)


def encode(text: str) -> list[int]:
    return [ord(c) for c in text] + [0]


def test_each_distinct_response_appears_once() -> None:
    pairs = [pair("a", "good", "bad"), pair("b", "good", "worse"), pair("c", "fine", "bad")]
    group = make_group(pairs, PROMPT, encode)
    assert [bytes(r[:-1]).decode() for r in group.responses] == ["good", "bad", "worse", "fine"]
    assert [(p.pair_id, p.chosen, p.rejected) for p in group.pairs] == [("a", 0, 1), ("b", 0, 2), ("c", 3, 1)]
    assert (group.question_id, group.prompt, group.images) == ("q", PROMPT, ("i1",))


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt", "reason"),
    [
        ("", "bad", PROMPT, "empty_response"),
        ("good", " \n", PROMPT, "empty_response"),
        ("same", "same", PROMPT, "identical_responses"),
        ("good", "bad", (), "empty_prompt"),
    ],
)
def test_items_that_cannot_train_are_rejected_by_name(
    chosen: str, rejected: str, prompt: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(ItemRejected) as caught:
        make_group([pair("a", chosen, rejected)], prompt, encode)
    assert caught.value.reason == reason


def group_of(*responses: tuple[int, ...], pairs: list[tuple[int, int]] | None = None) -> Group:
    chosen = pairs or [(0, i) for i in range(1, len(responses))]
    return Group("q", PROMPT, (), responses, tuple(IndexedPair(f"p{i}", *p) for i, p in enumerate(chosen)))


def test_a_dropout_ntp_pair_shares_its_half() -> None:
    half = tuple(range(100, 140))
    tree = prefix_tree(group_of((*half, 1, 2), (*half, 3)))
    assert [(s.parent, len(s.tokens)) for s in tree.segments] == [(-1, 3), (0, 40), (1, 2), (1, 1)]
    assert tree.paths == ((1, 2), (1, 3))
    assert tree.tokens == 3 + 40 + 2 + 1


def test_a_response_that_another_one_continues_ends_at_the_shared_half() -> None:
    half = tuple(range(100, 140))
    tree = prefix_tree(group_of((*half, 7, 8), half))
    assert tree.paths == ((1, 2), (1,))


def test_a_short_common_beginning_is_not_worth_a_segment() -> None:
    assert prefix_tree(group_of((5, 6, 1), (5, 6, 2)), enough=3).tokens == 3 + 6
    assert prefix_tree(group_of((5, 6, 1), (5, 6, 2)), enough=2).tokens == 3 + 4


tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple)


@given(st.lists(tokens, min_size=2, max_size=9, unique=True), st.integers(1, 5))
def test_every_path_spells_its_response_and_the_tree_is_depth_first(
    responses: list[tuple[int, ...]], enough: int
) -> None:
    tree = prefix_tree(group_of(*responses), enough)
    for response, path in zip(responses, tree.paths, strict=True):
        assert sum((tree.segments[i].tokens for i in path), ()) == response
        assert [tree.segments[i].parent for i in path] == [0, *path[:-1]]
    assert all(segment.tokens for segment in tree.segments)
    for index, segment in enumerate(tree.segments[1:], start=1):  # depth first: below an ancestor of the one before
        ancestors, at = set(), index - 1
        while at >= 0:
            ancestors.add(at)
            at = tree.segments[at].parent
        assert segment.parent in ancestors
    assert tree.tokens <= len(PROMPT) + sum(map(len, responses))


@given(st.lists(tokens, min_size=2, max_size=9, unique=True), st.integers(1, 5))
def test_nothing_of_enough_length_is_computed_twice(responses: list[tuple[int, ...]], enough: int) -> None:
    tree = prefix_tree(group_of(*responses), enough)
    children: dict[int, list[tuple[int, ...]]] = {}
    for segment in tree.segments[1:]:
        children.setdefault(segment.parent, []).append(segment.tokens[:enough])
    for beginnings in children.values():
        long = [b for b in beginnings if len(b) == enough]
        assert len(long) == len(set(long))


def test_packing_keeps_order_and_budget_and_loses_nothing() -> None:
    groups = [group_of((n,) * n, (n + 1,) * n) for n in (5, 9, 2, 2, 20, 1)]  # 3 + 2n tokens each
    batches = list(pack(groups, 45))
    assert [group for batch in batches for group in batch] == groups
    assert [[prefix_tree(g).tokens for g in batch] for batch in batches] == [[13, 21, 7], [7], [43], [5]]


def test_a_batch_may_be_filled_to_the_last_token() -> None:
    groups = [group_of((n,) * n, (n + 1,) * n) for n in (5, 9, 2)]  # 13, 21 and 7 tokens
    assert [len(batch) for batch in pack(groups, 41)] == [3]
    assert [len(batch) for batch in pack(groups, 40)] == [2, 1]


def test_images_of_a_batch_have_a_bound_of_their_own() -> None:
    """Here token 1 is an image's, three a prompt; a question's own images stay together."""
    groups = [Group(f"{n}", (1, 1, 1, 9), (), ((n,), (n, n)), (IndexedPair(f"{n}", 0, 1),)) for n in range(2, 7)]
    sizes = [[len(batch) for batch in pack(groups, 1000, True, most, 1)] for most in (1, 6, 8, 15)]
    assert sizes == [[1, 1, 1, 1, 1], [2, 2, 1], [2, 2, 1], [5]]


def test_packing_refuses_a_group_over_the_budget() -> None:
    with pytest.raises(ConfigError, match="budget"):
        list(pack([group_of((1,) * 9, (2,) * 9)], 20))


def test_a_group_over_the_budget_is_cut_between_pairs() -> None:
    group = group_of((1,) * 5, (2,) * 5, (3,) * 5, (4,) * 5, pairs=[(0, 1), (0, 2), (3, 2)])
    parts, rejected = fit_group(group, 18)
    assert not rejected
    assert [[p.pair_id for p in part.pairs] for part in parts] == [["p0", "p1"], ["p2"]]
    assert parts[0].responses == group.responses[:3]
    assert parts[1].responses == (group.responses[2], group.responses[3])
    assert (parts[1].pairs[0].chosen, parts[1].pairs[0].rejected) == (1, 0)
    assert all(prefix_tree(part).tokens <= 18 for part in parts)


def test_without_sharing_a_row_for_each_response_is_what_counts() -> None:
    group = group_of((1,) * 5, (2,) * 6, (3,) * 7)  # three rows of 3 + 7 tokens at most
    assert fit_group(group, 30, shares=False) == ([group], [])
    parts, _ = fit_group(group, 29, shares=False)
    assert [[p.pair_id for p in part.pairs] for part in parts] == [["p0"], ["p1"]]
    one, two = group_of((1,), (2,)), group_of((1,) * 7, (2,) * 7)  # together four rows of 10
    assert [len(batch) for batch in pack([one, two], 40, shares=False)] == [2]
    assert [len(batch) for batch in pack([one, two], 39, shares=False)] == [1, 1]


def test_a_pair_over_the_budget_is_rejected_by_name() -> None:
    parts, rejected = fit_group(group_of((1,) * 5, (2,) * 50, (3,) * 5), 20)
    assert [[p.pair_id for p in part.pairs] for part in parts] == [["p1"]]
    assert [(p.pair_id, reason) for p, reason in rejected] == [("p0", "pair_over_budget")]


def test_a_prompt_over_the_budget_is_rejected_by_name() -> None:
    parts, rejected = fit_group(group_of((1,), (2,)), 3)
    assert parts == []
    assert [reason for _, reason in rejected] == ["prompt_over_budget"]


def test_a_group_within_the_budget_is_left_alone() -> None:
    group = group_of((1, 2), (3, 4))
    assert fit_group(group, 7) == ([group], [])


def test_a_subgroup_holds_the_responses_of_its_pairs_only() -> None:
    group = Group("q", PROMPT, (), ((1,), (2,), (3,)), (IndexedPair("a", 0, 1), IndexedPair("b", 2, 1)))
    less = subgroup(group, group.pairs[1:])
    assert (less.responses, less.pairs) == (((2,), (3,)), (IndexedPair("b", 1, 0),))
