"""Charts, documents and kinds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.checking.case import answer_kind
from mmpr_pipeline.checking.matching.documents_and_charts import (
    edit_similarity,
    levenshtein,
    match_chart,
    match_document,
)
from mmpr_pipeline.checking.reading.quantity import read_quantity


@pytest.mark.parametrize(
    ("gold", "said", "outcome"),
    [
        ("100", "104", "correct"), ("100", "105", "correct"), ("100", "105.1", "incorrect"),
        ("-100", "-104", "correct"), ("-100", "100", "incorrect"),
        ("0", "0.0", "correct"), ("0", "0.01", "incorrect"), ("100", "0", "incorrect"),
        ("2008", "2008", "correct"), ("2008", "2050", "unparseable"),
        ("94%", "96%", "correct"), ("94%", "100%", "incorrect"), ("94%", "0.94", "correct"),
        ("94%", "94", "unparseable"), ("3,200", "3.2k", "correct"),
        ("3.2 million", "3.3 million", "correct"), ("3.2", "3.2 million", "unparseable"),
        ("$5.00", "5", "correct"), ("yes", " Yes ", "correct"),
        ("Won't", "Don't", "incorrect"), ("United States", "the United States", "correct"),
        ("1e400", "5", "incorrect"), ("5 cm", "5 kg", "unparseable"),
    ],
)  # fmt: skip
def test_relaxed_accuracy(gold: str, said: str, outcome: str) -> None:
    assert match_chart(said, [gold]).outcome == outcome


def test_years_are_exact_where_a_year_is_asked() -> None:
    assert match_chart("2009", ["2008"], "In which year was it highest?").outcome == "incorrect"
    assert match_chart("94", ["94%"], "What percentage of people?").outcome == "correct"


def test_quantities() -> None:
    quantity = read_quantity("$-3.5 million")
    assert quantity is not None
    assert (quantity.value, quantity.currency, quantity.percent) == (-3_500_000, "$", False)
    assert read_quantity("nan") is read_quantity("inf") is read_quantity("1e999") is None


@pytest.mark.parametrize(
    ("golds", "said", "outcome"),
    [
        (["Coca Cola"], "CocaCola", "correct"),
        (["coca"], "xyzwq", "incorrect"),
        (["Coca Cola", "Coca Cola Company"], "The Coca", "incorrect"),
        (["8/23/84"], "8/23/85", "unparseable"),
        (["male"], "female", "unparseable"),
        (["Dr. John A. Smith"], "Dr John A Smith", "correct"),
        (["54%", "54"], "54", "correct"),
        (["HB"], "hb", "correct"),
    ],
)
def test_anls(golds: list[str], said: str, outcome: str) -> None:
    assert match_document(said, golds).outcome == outcome


def naive(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[len(b)]


words = st.text("abc ", max_size=12)


@given(words, words, st.integers(0, 12))
def test_the_bounded_distance_is_the_distance_up_to_its_bound(a: str, b: str, most: int) -> None:
    assert levenshtein(a, b, most) == min(naive(a, b), most + 1)


@given(words, words)
def test_similarity_is_symmetric_and_one_only_for_equals(a: str, b: str) -> None:
    assert edit_similarity(a, b) == edit_similarity(b, a)
    assert edit_similarity(a, a) == 1.0


@pytest.mark.parametrize(
    ("kind", "gold", "choices", "question", "settled"),
    [
        ("multiple_choice", "A", (), "", "choice"), ("true/false", "True", (), "", "yes_no"),
        ("DocVQA", "x", (), "", "document"), (None, "yes", (), "", "yes_no"),
        (None, "B", (), "", "choice"), (None, "red", ("red", "blue"), "", "choice"),
        (None, "[1, 2]", (), "", "list"), (None, "3,200.5", (), "", "number"),
        (None, "-3/4", (), "", "number"), (None, "25%", (), "", "number"), (None, "\\frac{1}{2}", (), "", "math"),
        (None, "x=5", (), "", "math"),
        (None, "a red car", (), "", "text"), (None, "5", (), "", "number"),
        (None, "BD", (), "A. x B. y C. z D. w", "choice"),
    ],
)  # fmt: skip
def test_kinds(kind: str | None, gold: str, choices: tuple[str, ...], question: str, settled: str) -> None:
    assert answer_kind(kind, gold, choices, question) == settled


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Unknown kind of answer 'numbr'\. Is it number"):
        answer_kind("numbr", "5")
