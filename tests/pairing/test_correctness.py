from __future__ import annotations

import itertools
import operator
import random
from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from mmpr_pipeline.core.records import CheckedRollout, PreferencePair
from mmpr_pipeline.pairing.correctness import combinations, correctness_pairs
from tests.records import a_checked, a_question

QUESTION = a_question()


def rollouts(correct: int, incorrect: int, other: int = 0) -> list[CheckedRollout]:
    outcomes = ["correct"] * correct + ["incorrect"] * incorrect + ["unparseable"] * other
    return [a_checked(QUESTION, i, f"way {i} so {3 if o == 'correct' else 10 + i}", o) for i, o in enumerate(outcomes)]


def pairs_of(given: list[CheckedRollout], most: int = 15, seed: int = 0) -> list[PreferencePair]:
    return correctness_pairs(QUESTION, "prompt", given, max_pairs=most, seed=seed, answers_equal=operator.eq)


@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 20))
@example(5, 7, 20)  # where the diagonals alone come back to the first too often
def test_as_many_pairs_as_there_are_and_may_be_each_side_used_evenly(correct: int, incorrect: int, most: int) -> None:
    pairs = pairs_of(rollouts(correct, incorrect, 2), most)
    assert len(pairs) == min(most, correct * incorrect)
    assert len({p.pair_id for p in pairs}) == len(pairs)
    for side, size in (("chosen", correct), ("rejected", incorrect)):
        uses = Counter(getattr(p, side) for p in pairs)
        assert max(uses.values(), default=0) <= -(-len(pairs) // max(size, 1)) + 1


def test_none_is_used_two_times_more_than_the_least_while_others_are_left() -> None:
    for m, n in itertools.product(range(1, 9), repeat=2):
        sides = [a_checked(QUESTION, i, f"{i}", "correct") for i in range(max(m, n))]
        cells = [(i.index, j.index) for i, j in combinations(sides[:m], sides[:n])]
        assert sorted(cells) == list(itertools.product(range(m), range(n)))
        used = [0] * m, [0] * n
        for at, cell in enumerate(cells):
            even = {c for c in cells[at:] if all(used[k][c[k]] < min(used[k]) + 2 for k in (0, 1))}
            assert cell in even or not even, (m, n, at)
            for k in (0, 1):
                used[k][cell[k]] += 1


def test_where_every_one_is_used_too_often_the_next_of_the_diagonal_is_taken() -> None:
    """Of 9 by 13 that comes about; of fewer than 22 in all it does not show."""
    sides = [a_checked(QUESTION, i, f"{i}", "correct") for i in range(13)]
    waiting = list(dict.fromkeys((step % 9, (step + shift) % 13) for shift in range(13) for step in range(13)))
    used, passed_over = ([0] * 9, [0] * 13), 0
    for i, j in combinations(sides[:9], sides):
        even = [c for c in waiting if all(used[k][c[k]] < min(used[k]) + 2 for k in (0, 1))]
        assert (i.index, j.index) == (even or waiting)[0]
        passed_over += not even
        waiting.remove((i.index, j.index))
        used[0][i.index] += 1
        used[1][j.index] += 1
    assert passed_over


def test_the_order_of_rollouts_does_not_matter() -> None:
    given = rollouts(5, 6)
    expected = pairs_of(given)
    for seed in range(5):
        shuffled = random.Random(seed).sample(given, len(given))
        assert pairs_of(shuffled) == expected


def test_another_seed_takes_other_pairs() -> None:
    assert pairs_of(rollouts(6, 6), 3, seed=1) != pairs_of(rollouts(6, 6), 3, seed=2)


def test_equal_answers_are_not_paired_even_where_verdicts_differ() -> None:
    given = [a_checked(QUESTION, 0, "it is 5", "correct"), a_checked(QUESTION, 1, "so 5", "incorrect")]
    assert pairs_of(given) == []


def test_cut_off_and_repeated_texts_are_left_out() -> None:
    given = [
        a_checked(QUESTION, 0, "it is 3", "correct"),
        a_checked(QUESTION, 1, "it is 3", "correct"),
        a_checked(QUESTION, 2, "it is 4", "incorrect", finish_reason="length"),
        a_checked(QUESTION, 3, "it is 5", "incorrect"),
        a_checked(QUESTION, 4, " it is 5 ", "incorrect"),
    ]
    assert [(p.chosen_index, p.rejected_index) for p in pairs_of(given)] == [(0, 3)]


def test_an_abstention_may_be_rejected() -> None:
    given = [a_checked(QUESTION, 0, "it is 3", "correct"), a_checked(QUESTION, 1, "?", "incorrect", extracted=None)]
    (pair,) = pairs_of(given)
    assert pair.rejected_answer is None
    assert pair.answer == "3"


def test_only_two_answers_are_compared() -> None:
    """Where one side has none, their texts are: no comparison of answers is asked about None."""
    some = [a_checked(QUESTION, 0, "it is 3", "correct"), a_checked(QUESTION, 1, "?", "incorrect", extracted=None)]
    compared: list[tuple[str, str]] = []

    def equal(one: str, two: str) -> bool:
        compared.append((one, two))
        return True

    (pair,) = correctness_pairs(QUESTION, "p", some, max_pairs=3, seed=0, answers_equal=equal)
    assert (pair.chosen_index, pair.rejected_index, compared) == (0, 1, [])


def test_length_plays_no_part_in_the_choice() -> None:
    """Over many questions the chosen responses are as long as all correct ones are, on average."""
    taken: list[int] = []
    for number in range(300):
        question = a_question(source_id=str(number))
        given = [a_checked(question, i, "w " * (i + 1) + "3", "correct") for i in range(9)]
        given += [a_checked(question, 9 + i, f"no {i}", "incorrect") for i in range(2)]
        found = correctness_pairs(question, "p", given, max_pairs=3, seed=0, answers_equal=operator.eq)
        taken += [p.chosen_index for p in found]
    assert abs(sum(taken) / len(taken) - 4.0) < 0.3
