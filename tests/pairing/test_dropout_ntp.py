from __future__ import annotations

import pytest

from mmpr_pipeline.core.records import CheckedRollout
from mmpr_pipeline.pairing.dropout_ntp import degenerate, is_repetitive, parents_to_cut
from tests.records import a_checked, a_question

OPEN = a_question(kind="none", answer=None)
CLOSED = a_question()
GOOD = "A red circle stands left of a blue square."


def continued(text: str, kept: int, **fields: object) -> CheckedRollout:
    return a_checked(OPEN, 9, text, fields.pop("outcome", None), parent=0, prefix_chars=kept, **fields)  # type: ignore[arg-type]


def test_open_questions_cut_any_finished_response_and_others_only_correct_ones() -> None:
    texts = [GOOD, GOOD + " And more.", "short", "A green circle that never ends"]
    finish = ["stop", "stop", "stop", "length"]
    outcomes = ["correct", "unparseable", "correct", "correct"]
    for question, usable in ((OPEN, {0, 1}), (CLOSED, {0})):
        given = [
            a_checked(question, i, t, None if question is OPEN else o, finish_reason=f)
            for i, (t, f, o) in enumerate(zip(texts, finish, outcomes, strict=True))
        ]
        assert {r.index for r in parents_to_cut(question, given, most=5, seed=0)} == usable
        assert len(parents_to_cut(question, given, most=1, seed=0)) == 1


def test_an_open_response_that_a_person_marked_is_cut_only_if_it_was_called_correct() -> None:
    given = [a_checked(OPEN, i, f"{GOOD} {i}", o) for i, o in enumerate([None, "correct", "incorrect", "unparseable"])]
    assert {r.index for r in parents_to_cut(OPEN, given, most=5, seed=0)} == {0, 1}


@pytest.mark.parametrize(
    ("continuation", "reason"),
    [
        (continued(GOOD[:20] + " a green star and a cat.", 20), None),
        (continued(GOOD[:20] + "  ", 20), "empty_continuation"),
        (continued(GOOD, 20), "same_as_chosen"),
        (continued(GOOD[:20] + " it goes", 20, finish_reason="length"), "unfinished_continuation"),
        (continued(GOOD[:20] + " so 3", 20, outcome="correct"), "still_correct"),
        (continued(GOOD[:20] + " a cat and" * 30, 20), "repetitive_continuation"),
    ],
)
def test_degenerate_continuations_have_names(continuation: CheckedRollout, reason: str | None) -> None:
    assert degenerate(a_checked(OPEN, 0, GOOD, None), continuation) == reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three " * 20, True),
        (" ".join(f"step {i} gives {i * i}," for i in range(40)), False),
        ("图中有一个圆" * 40, True),
        ("图中左边有一个红色的圆，右边是一个蓝色的正方形，下面写着数字三和五，它们的和等于八。", False),
        ("", False),
    ],
)
def test_loops_are_seen_in_words_and_in_chinese(text: str, expected: bool) -> None:
    assert is_repetitive(text) is expected


def looping(words: int, looped: int) -> str:
    """That many words, of whose trigrams (two fewer) `looped` are of one that comes again and again."""
    return " ".join(["so"] * (looped + 2) + [f"w{i}" for i in range(words - looped - 2)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (looping(24, 11), False),  # exactly half of 22 trigrams
        (looping(24, 12), True),
        (looping(23, 21), False),  # too few words to tell
        (looping(24, 22), True),
        ("a b c " * 3 + " ".join(f"w{i}" for i in range(15)), False),
        ("a b c " * 8, True),
        (" ".join(["x y z"] * 3 + [f"w{i}" for i in range(8)] + ["k l m"] * 3), False),  # three times is no loop
        (" ".join([f"w{i}" for i in range(9)] * 3), False),  # nor is all of a text three times
        (" ".join([f"w{i}" for i in range(9)] * 4), True),
    ],
)
def test_the_border_of_a_loop_of_words(text: str, expected: bool) -> None:
    assert is_repetitive(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("图" * 96, True),
        ("图" * 95, False),  # too few characters to tell
        ("图" * 49 + "".join(map(chr, range(0x4E00, 0x4E00 + 47))), False),  # 47 of 94 trigrams
        ("图" * 50 + "".join(map(chr, range(0x4E00, 0x4E00 + 46))), True),
        ("图" * 92 + " a b c", True),  # four words in 98 characters: no spaced text
        ("图" * 92 + " a b c d e", False),  # six words in 102 are one
        (" ".join("图" * 16 for _ in range(5)) + "图" * 16, False),  # 5 words of 100 characters are one in twenty
        (" ".join("图" * 16 for _ in range(5)) + "图" * 17, True),  # of 101 they are fewer
    ],
)
def test_the_border_of_a_loop_of_chinese(text: str, expected: bool) -> None:
    assert is_repetitive(text) is expected


def test_a_parent_is_long_enough_from_sixteen_characters_on() -> None:
    rollouts = [a_checked(OPEN, i, "x" * n, None) for i, n in enumerate((15, 16, 17))]
    assert {r.index for r in parents_to_cut(OPEN, rollouts, most=5, seed=0)} == {1, 2}
    assert len(parents_to_cut(OPEN, rollouts, most=0, seed=0)) == 0


def test_a_continuation_is_no_parent() -> None:
    assert parents_to_cut(OPEN, [a_checked(OPEN, 3, GOOD, None, parent=0)], most=5, seed=0) == []
