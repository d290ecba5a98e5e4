"""The face of the checker: loud on misuse, light to import; a third party's checker, and its place in the identity."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from mmpr_pipeline.checking import (
    CHECKER,
    CHECKERS,
    Verdict,
    answers_equal,
    check,
    check_prediction,
    check_question,
    checker,
    checker_identity,
)
from mmpr_pipeline.checking.api import checker_for
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question


def test_check() -> None:
    assert check("So it is 0.5.", "1/2").outcome == "correct"
    assert check("So it is 0.6.", "1/2").outcome == "incorrect"
    assert check("3834", 3834.0, kind="number").outcome == "correct"
    assert check("Yes", True).outcome == "unparseable" or check("True", True).outcome == "correct"


@pytest.mark.parametrize("gold", [None, ["5"], {"a": 1}, float("nan")])
def test_a_gold_that_is_no_text_is_an_error(gold: object) -> None:
    with pytest.raises(TypeError, match="gold"):
        check("5", gold)  # type: ignore[arg-type]


def test_a_response_that_is_no_text_is_an_error() -> None:
    for kind in (None, "number", "choice"):
        with pytest.raises(TypeError, match="response"):
            check(None, "5", kind=kind)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        check_prediction(5, gold="5")  # type: ignore[arg-type]


def test_an_unknown_kind_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="integer"):
        check("5", "5", kind="integre")
    with pytest.raises(ValueError, match="integre"):
        answers_equal("5", "6", kind="integre")


def test_texts_where_lists_are_due() -> None:
    with pytest.raises(TypeError, match="choices"):
        check("A", "A", choices="AB")


def test_the_language_decides_what_a_comma_is() -> None:
    assert check("3,5", "3.5", kind="number", language="de").outcome == "correct"
    assert check("1.234", "1234", kind="number", language="de").outcome == "correct"
    assert check("1.234", "1234", kind="number").outcome == "incorrect"


def test_importing_the_checker_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mmpr_pipeline.checking import check; "
        "assert check('The answer is 5.', '5').outcome == 'correct'"
        "; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pyarrow", "pydantic", "numpy", "sympy"}.isdisjoint(done.stdout.split())


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
