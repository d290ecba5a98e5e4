"""FormatPairs pairs: what is well-formed in each style, and which responses are paired."""

from __future__ import annotations

import asyncio

import pytest

from mmpr_pipeline.core.records import CheckedRollout
from mmpr_pipeline.pairing.format import FormatPairs, form_of, well_formed
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe
from mmpr_pipeline.rollouts.prompts import Prompt
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from tests.records import a_checked, a_question

QUESTION = a_question()


@pytest.mark.parametrize(
    ("style", "text", "good"),
    [
        ("cot-final", "One, two, three.\nFinal answer: 3", True),
        ("cot-final", "One.\n**Final answer:** 3\n", True),
        ("cot-final", "一二三\n最终答案：3", True),
        ("cot-final", "So it is 3.", False),
        ("cot-final", "Final answer: 3\nI hope that helps.", False),
        ("cot-final", "Final answer: 2\nNo.\nFinal answer: 3", False),
        ("cot-boxed", "Three.\n\\boxed{3}", True),
        ("cot-boxed", "\\boxed{2} or \\boxed{3}", False),
        ("cot-boxed", "\\boxed{3}\n\nAnd that was it.", False),
        ("cot-think", "<think>one two three</think>\nFinal answer: 3", True),
        ("cot-think", "one two three</think>\nFinal answer: 3", False),
        ("cot-think", "<think>one</think>\nWell.\nFinal answer: 3", False),
    ],
)
def test_the_form_of_a_style(style: str, text: str, good: bool) -> None:
    assert well_formed(text, style) is good


def test_only_our_own_prompts_ask_for_a_known_form() -> None:
    assert form_of("cot-boxed-zh@1") == "cot-boxed"
    assert form_of("direct-en@1") is form_of("cot-final-en-geoqa@1234abcd") is form_of("preset@1") is None


def made(rollouts: list[CheckedRollout], **options: object) -> Pairs:
    recipe = Recipe(SamplingSettings(), PairingSettings(strategies=("format",), options={"format": options}), seed=0)
    return asyncio.run(FormatPairs().pair(QUESTION, Prompt("How many?", "cot-final-en@1"), rollouts, None, recipe))  # type: ignore[arg-type]


GOOD = a_checked(QUESTION, 0, "One, two.\nFinal answer: 3", "correct")
BARE = a_checked(QUESTION, 1, "There are 3.", "correct")
VAGUE = a_checked(QUESTION, 2, "Some.", "unparseable")
WRONG = a_checked(QUESTION, 3, "There are 4.", "incorrect")
CUT = a_checked(QUESTION, 4, "One, tw", "unparseable", finish_reason="length")


def test_a_right_answer_in_form_is_chosen_over_one_without() -> None:
    found = made([GOOD, BARE, VAGUE, WRONG, CUT], pairs=9)
    assert {(p.strategy, p.chosen_index, p.rejected_index) for p in found.pairs} == {("format", 0, 1), ("format", 0, 2)}


def test_cut_off_responses_are_ill_formed_where_asked_for() -> None:
    assert {p.rejected_index for p in made([GOOD, CUT], cut_off=True).pairs} == {4}
    assert made([GOOD, CUT]).reason == "all_well_formed"


def test_a_wrong_answer_in_form_is_never_chosen() -> None:
    wrong = a_checked(QUESTION, 5, "One.\nFinal answer: 4", "incorrect")
    assert made([wrong, BARE]).reason == "no_well_formed"
