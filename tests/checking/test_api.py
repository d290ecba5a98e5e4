"""The face of the checker: loud on misuse, light to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmpr_pipeline.checking import answers_equal, check, check_prediction


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
