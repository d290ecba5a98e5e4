from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mmpr_pipeline.screening.shingles import SimilarQuestions, jaccard, shingles, split_words

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), min_size=0, max_size=12).map(" ".join)


def of(text: str):  # type: ignore[no-untyped-def]
    return shingles(split_words(text))


def test_words_are_words_numbers_and_chinese_signs() -> None:
    assert split_words("<image>\nIn $\\angle ABC$, AB = 3.14 cm?") == ["in", "angle", "abc", "ab", "3.14", "cm"]
    assert split_words("如图,AB=5") == ["如", "图", "ab", "5"]


def test_signs_case_and_blanks_do_not_matter_numbers_do() -> None:
    asked = "How many red cubes are left of the 3 blue balls?"
    assert jaccard(of(asked), of("<image> how many RED cubes  are left of the 3 blue balls")) == 1
    assert jaccard(of(asked), of(asked.replace("3", "4"))) < 0.6


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_similarity_is_the_jaccard_index_of_the_sets(one: str, other: str) -> None:
    def sets(text: str) -> set[tuple[str, ...]]:
        tokens = text.split()
        size = min(3, len(tokens))
        return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)} if tokens else set()

    a, b = sets(one), sets(other)
    expected = len(a & b) / len(a | b) if a and b else 0.0
    assert jaccard(of(one), of(other)) == expected == jaccard(of(other), of(one))


def test_every_similar_question_is_found_among_many() -> None:
    known = [f"in figure {n} the angle at p{n} of polygon q{n} measures {n} degrees find s{n}" for n in range(3000)]
    index = SimilarQuestions(map(of, known))
    for n in range(0, 3000, 97):
        asked = of(known[n] + " please")
        expected = [(i, jaccard(asked, of(text))) for i, text in enumerate(known)]
        assert index.like(asked, 0.8) == [(i, value) for i, value in expected if value >= 0.8]
        assert index.like(asked, 0.8)[0][0] == n


def test_nothing_is_like_nothing() -> None:
    index = SimilarQuestions([of(""), of("a b c")])
    assert index.like(of(""), 0.5) == []
    assert index.like(of("x y z"), 0.5) == []
