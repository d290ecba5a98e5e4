from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.report.differences import TextSpan, answer_span, compare_texts

WORDY = st.text(alphabet="ab c.中文\n", max_size=60)


def told(pieces: list[TextSpan]) -> list[tuple[str, str]]:
    return [(p.text, ("=" if p.shared else "") + ("!" if p.answer else "")) for p in pieces]


def test_what_both_share_is_found_word_by_word() -> None:
    one, other = compare_texts("Row 1 has a red dot. So it is 4.", "Row 1 has a blue dot. So it is 5.", ("4", "5"))
    assert told(one) == [("Row 1 has a ", "="), ("red ", ""), ("dot. So it is ", "="), ("4", "!"), (".", "")]
    assert told(other)[1] == ("blue ", "")


def test_lone_shared_words_in_the_middle_stay_unmarked() -> None:
    one, _ = compare_texts("start we see the cat now", "start they saw the dog later")
    assert told(one) == [("start ", "="), ("we see the cat now", "")]


def test_a_prefix_cut_within_a_word_counts_as_shared() -> None:
    one, other = compare_texts("The house is tall", "The horse runs", shared_chars=6)
    assert one[0] == TextSpan("The ho", True)
    assert other[0] == TextSpan("The ho", True)


def test_chinese_is_compared_character_by_character() -> None:
    one, _ = compare_texts("图中有三个红色圆", "图中有四个蓝色圆")
    assert told(one)[0] == ("图中有", "=")


def test_the_answer_is_marked_where_it_is_stated_last_and_only_as_a_whole_word() -> None:
    assert answer_span("4 of 14 are 4, not 42", "4") == (12, 13)
    assert answer_span("fourteen", "four") == (0, 0)
    assert answer_span("anything", None) == (0, 0)
    assert answer_span("it is $\\frac{1}{2}$", "\\frac{1}{2}") == (7, 18)


@given(WORDY, WORDY, st.text(alphabet="ab", max_size=2))
def test_pieces_joined_give_the_response_again_and_shared_ones_agree(one: str, other: str, answer: str) -> None:
    left, right = compare_texts(one, other, (answer, answer))
    assert "".join(p.text for p in left) == one
    assert "".join(p.text for p in right) == other
    common = ["".join(p.text for p in side if p.shared).split() for side in (left, right)]
    assert "".join(common[0]) == "".join(common[1])


def test_long_texts_take_no_long_time() -> None:
    one = " ".join(f"word{i % 37} x" for i in range(20_000))
    began = time.process_time()
    compare_texts(one, one.replace("word5", "other"))
    compare_texts("a b " * 590 + "x", "b a " * 590 + "y")
    assert time.process_time() - began < 3
