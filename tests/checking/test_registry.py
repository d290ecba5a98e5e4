"""A checker of a third party for a kind, and its place in the identity."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmpr_pipeline.checking import CHECKER, CHECKERS, Verdict, check_question, checker, checker_identity
from mmpr_pipeline.checking.api import checker_for
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question


@pytest.fixture
def shouting() -> Iterator[None]:
    @checker("text", version=3)
    def shouts(question: Question, response: str) -> Verdict:
        if response == "broken":
            raise ZeroDivisionError
        if response == "yes or no":
            return True  # type: ignore[return-value]
        return Verdict(outcome="correct" if response.isupper() else "incorrect", rule="shouts")

    yield
    CHECKERS._added.clear()
    checker_for.cache_clear()


def question(kind: str) -> Question:
    return Question(question_id="q", source="s", source_id="1", text="Which?", kind=kind, answer="red")  # type: ignore[arg-type]


def test_without_third_parties_the_identity_is_ours() -> None:
    assert checker_identity() == CHECKER


@pytest.mark.usefixtures("shouting")
def test_it_decides_on_its_kind_only_and_is_named() -> None:
    verdict = check_question(question("text"), "BLUE")
    assert (verdict.outcome, verdict.rule) == ("correct", "shouts")
    assert "shouts 3" in verdict.checker
    assert check_question(question("number"), "BLUE").checker == CHECKER
    assert checker_identity().startswith(f"{CHECKER}, text=")
    assert "shouts 3" in checker_identity()


@pytest.mark.usefixtures("shouting")
def test_a_fault_of_theirs_costs_one_verdict() -> None:
    verdict = check_question(question("text"), "broken")
    assert (verdict.outcome, verdict.rule) == ("unparseable", "checker_failed:ZeroDivisionError")
    verdict = check_question(question("text"), "yes or no")  # it answers with what is no verdict
    assert (verdict.outcome, verdict.rule) == ("unparseable", "checker_failed:TypeError")


@pytest.mark.usefixtures("shouting")
def test_a_kind_has_one_checker() -> None:
    with pytest.raises(ConfigError, match="already"):
        checker("text", version=4)(lambda question, response: Verdict(outcome="correct", rule="x"))


def test_a_kind_that_is_not_known_has_no_checker() -> None:
    with pytest.raises(ConfigError, match="no kind of answer 'txt'"):
        checker("txt", version=1)  # type: ignore[arg-type]
