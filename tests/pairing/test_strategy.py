from __future__ import annotations

import pytest

from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.pairing.correctness import correctness_pairs
from mmpr_pipeline.pairing.strategy import make_pair, seeded_order
from tests.records import a_checked, a_question

QUESTION = a_question()


def test_an_id_is_of_question_strategy_chosen_and_rejected_in_this_order() -> None:
    """Ids are for ever: marks, published rows and references name pairs by them."""
    good, bad = a_checked(QUESTION, 0, "so 3", "correct"), a_checked(QUESTION, 1, "so 7", "incorrect")
    pair = make_pair(QUESTION, "prompt", good, bad, "correctness")
    assert pair.pair_id == content_id(QUESTION.question_id, "correctness", "so 3", "so 7")
    assert pair.pair_id == "54ab66f3a9d331eaedbfeb21ce1f00ef"
    assert make_pair(QUESTION, "prompt", bad, good, "correctness").pair_id != pair.pair_id


def test_the_order_of_rollouts_is_the_same_for_ever() -> None:
    rollouts = [a_checked(QUESTION, i, f"way {i}", "correct") for i in range(8)]
    assert [r.index for r in seeded_order(rollouts, 0, "chosen")] == [0, 4, 5, 6, 3, 7, 2, 1]
    assert [r.index for r in seeded_order(rollouts, 0, "rejected")] == [2, 5, 6, 3, 1, 0, 4, 7]
    assert [r.index for r in seeded_order(rollouts, 1, "chosen")] == [1, 2, 5, 3, 7, 6, 4, 0]


def test_of_equal_texts_the_first_stays() -> None:
    rollouts = [a_checked(QUESTION, i, text, "correct") for i, text in enumerate(["a", " a ", "b", "a"])]
    assert sorted(r.index for r in seeded_order(rollouts, 0, "chosen")) == [0, 2]


@pytest.mark.parametrize("most", [3, 15])
def test_which_pairs_are_made_is_the_same_for_ever(most: int) -> None:
    rollouts = [
        a_checked(QUESTION, i, f"way {i} so {3 if i % 2 else i}", "correct" if i % 2 else "incorrect") for i in range(7)
    ]
    pairs = correctness_pairs(QUESTION, "p", rollouts, max_pairs=most, seed=5, answers_equal=lambda a, b: a == b)
    expected = [
        (5, 6), (3, 4), (1, 0), (5, 2), (5, 4), (3, 0),
        (1, 2), (5, 0), (3, 2), (1, 6), (3, 6), (1, 4),
    ]  # fmt: skip
    assert [(p.chosen_index, p.rejected_index) for p in pairs] == expected[:most]


def test_rules_and_checkers_are_those_of_the_rollouts() -> None:
    good = a_checked(QUESTION, 0, "so 3", "correct").model_copy(update={"rule": "number", "checker": "c@1"})
    bad = a_checked(QUESTION, 1, "so 7", "incorrect").model_copy(update={"rule": "other", "checker": "c@2"})
    pair = make_pair(QUESTION, "prompt", good, bad, "correctness")
    assert (pair.chosen_rule, pair.rejected_rule, pair.checker) == ("number", "other", "c@1")
    bare = [r.model_copy(update={"rule": None, "checker": None}) for r in (good, bad)]
    pair = make_pair(QUESTION, "prompt", bare[0], bare[1], "dropout_ntp")
    assert (pair.chosen_rule, pair.rejected_rule, pair.checker) == ("", "", "")
