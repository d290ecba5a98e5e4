"""One rule a benchmark, on responses as models write them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring import choice, open_answer
from mmpr_pipeline.evaluation.scoring.chair import OWN_SYNONYMS, read_vocabulary
from mmpr_pipeline.evaluation.scoring.graded import conclusion
from mmpr_pipeline.evaluation.scoring.ifeval import ifeval
from tests.records import a_question

FRUIT = ("apple", "pear", "plum", "fig")


def item(
    answer: str = "A", kind: str = "choice", choices: tuple[str, ...] = (), text: str = "What?", **row: Any
) -> BenchmarkItem:
    return BenchmarkItem(a_question(kind=kind, answer=answer, choices=choices, text=text), row)


@pytest.mark.parametrize(
    ("response", "part"),
    [
        ("I count. Final answer: 4", "4"),
        ("**Final answer:** B", "B"),
        ("So \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{\\text{B}}", "B"),
        ("<think>Final answer: 3</think>\nFinal answer: 4", "4"),
        ("<answer>C</answer> I hope", "C"),
        ("最终答案：12", "12"),
        ("\\boxed{4", "\\boxed{4"),
        ("just 4", "just 4"),
    ],
)
def test_the_conclusion_is_what_states_the_answer(response: str, part: str) -> None:
    assert conclusion(response) == part


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("The answer is (b).", "B"),
        ("First (A), but then (C)", "C"),
        ("[Answer] (D) [Rationale] (A)", "D"),
        ("It is a plum, I think", "C"),
        ("apple or pear", "B"),
        ("B", "B"),
        ("c", "C"),
        ("none of these", None),
        ("Final answer: D", "D"),
    ],
)
def test_m3cot_reads_letters_as_its_authors_do(response: str, said: str | None) -> None:
    assert choice.m3cot(item(choices=FRUIT), response).said == said


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        ("(B)", "B"),
        ("C. a key", "C"),
        ("D: rope", "D"),
        ("The answer is B", "B"),
        ("Answer: **C**", "C"),
        ("A man stands there", None),
        ("A man stands there, so C", "C"),
        ("I think it is B", "B"),
        ("A or B", None),
        ("Not (A) but (D)", None),
        ("the correct option is D because A is wrong", "D"),
        ("B is right", "B"),
        ("", None),
    ],
)
def test_one_letter_is_read_or_none(text: str, letter: str | None) -> None:
    assert choice.read_letter(text)[0] == letter


@pytest.mark.parametrize(
    ("response", "gold", "right"),
    [("A, C", "AC", 1), ("(C) (A)", "AC", 1), ("CA", "AC", 1), ("A", "AC", 0), ("A C D", "AC", 0), ("none", "A", 0)],
)
def test_letters_are_a_set(response: str, gold: str, right: float) -> None:
    assert choice.letters(item(answer=gold), response).score == 0.0  # the row has no answer column
    assert choice.letters(BenchmarkItem(a_question(), {"answer": gold}), response).score == right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes", "yes"),
        ("no, there is none", "no"),
        ("Yes and no", None),
        ("nothing there", None),
        ("I know it", None),
        ("NO.", "no"),
    ],
)
def test_yes_and_no_are_words(text: str, said: str | None) -> None:
    assert choice.stated_yes_no(text) == said


@pytest.mark.parametrize(
    ("extracted", "choices", "kind", "precision", "said"),
    [
        ("(B) pear", FRUIT, "text", None, "pear"),
        ("B", FRUIT, "text", None, "pear"),
        ("plumb", FRUIT, "text", None, "plum"),
        ("", FRUIT, "text", None, None),
        ("3.9", (), "integer", None, "3"),
        ("about 1,204 people", (), "integer", None, "1204"),
        ("0.6449", (), "float", 2.0, "0.64"),
        ("1.25", (), "float", 1.0, "1.2"),
        ("many", (), "integer", None, None),
        ("[1, 2]", (), "list", None, "[1, 2]"),
    ],
)
def test_mathvista_brings_answers_into_the_form_of_their_type(
    extracted: str, choices: tuple[str, ...], kind: str, precision: float | None, said: str | None
) -> None:
    assert open_answer.normalised(extracted, choices, kind, precision) == said


@pytest.mark.parametrize(
    ("response", "gold", "kind", "right"),
    [
        ("The answer is True", "True", "bool", 1),
        ("The answer is no.", "True", "bool", 0),
        ("Therefore, x = 10.4", "10", "integer", 1),
        ("x = 10.6", "10", "integer", 0),
        ("The answer is 1.04", "1.0", "integer", 1),
        ("3.21", "3.14", "float", 1),
        ("3.3", "3.14", "float", 0),
        ("The answer is \\sqrt{2}", "1.414", "float", 1),
        ("\\frac{\\pi}{2}", "1.5708", "float", 1),
        ("45%", "0.45", "float", 1),
        ("The answer is (3, 1, 2)", "[1, 2, 3]", "list of integer", 1),
        ("[1, 2]", "[1, 2, 3]", "list of integer", 0),
        ("The answer is (b)", "(b)", "option", 1),
        ("(a) or (b)", "(b)", "option", 1),
        ("no idea", "3", "integer", 0),
    ],
)
def test_theoremqa_compares_by_type(response: str, gold: str, kind: str, right: float) -> None:
    asked = BenchmarkItem(a_question(kind="math", answer=gold), {"Answer": gold, "Answer_type": kind})
    assert open_answer.theoremqa(asked, response).score == right


def test_anls_relaxed_and_words() -> None:
    cola = item("CocaCola", "document")
    assert open_answer.anls(cola, "Coca Cola").score == pytest.approx(1 - 1 / 9)
    assert open_answer.anls(cola, "xyzwq").score == 0.0
    assert open_answer.relaxed(item("62", "chart"), "60").score == 1.0
    assert open_answer.relaxed(item("62", "chart"), "58").score == 0.0
    assert open_answer.relaxed(item("Peru", "chart"), "peru.").score == 1.0
    assert open_answer.words_in_order(item("a red bus", "text"), "It is the red bus there").score == 1.0
    assert open_answer.words_in_order(item("27", "text"), "127").score == 0.0


def test_objects_are_named_by_synonyms_plurals_and_phrases() -> None:
    named = read_vocabulary(OWN_SYNONYMS).named
    assert named("Two puppies and some people near a fire hydrant.") == ["dog", "person", "fire hydrant"]
    assert named("A teddy bear on a couch, not a bear") == ["teddy bear", "couch", "bear"]
    assert named("The toilet seat is up; buses and knives") == ["toilet", "bus", "knife"]
    assert named("A baby elephant, a bow tie, wine glasses") == ["elephant", "tie", "wine glass"]
    assert named("Nothing but light") == []


def test_the_80_classes_are_there() -> None:
    assert len(set(read_vocabulary(OWN_SYNONYMS).classes.values())) == 80


def test_an_unknown_instruction_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="made:up"):
        ifeval(BenchmarkItem(a_question(), {"instruction_id_list": ["made:up"], "kwargs": [{}]}), "text")


HOSTILE = ["(" * 50_000, "[" * 50_000, "A " * 30_000, "\\boxed{" * 5_000, "9" * 50_000, "=" * 50_000,
           "<answer>" * 5_000, "__import__('os').system('true')", "1e999999", "\x00", "\ud800"]  # fmt: skip


@pytest.mark.parametrize("response", HOSTILE)
def test_hostile_responses_cost_little_and_raise_nothing(response: str) -> None:
    began = time.process_time()
    asked = BenchmarkItem(
        a_question(kind="choice", answer="A", choices=FRUIT),
        {"Answer": "3", "Answer_type": "float", "answer": "A", "answer_type": "float", "correct_option": "A"},
    )
    for rule in (choice.checker_score, choice.m3cot, choice.crpe, choice.letter, choice.letters, choice.pope,
                 open_answer.mathvista, open_answer.theoremqa, open_answer.anls, open_answer.relaxed,
                 open_answer.words_in_order):  # fmt: skip
        assert 0 <= rule(asked, response).score <= 1
    assert time.process_time() - began < 5
