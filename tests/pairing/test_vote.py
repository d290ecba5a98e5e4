"""Votes: a clear majority is chosen, an unclear one makes no pair, and a pair says that nobody confirmed it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe
from mmpr_pipeline.pairing.vote import Vote
from mmpr_pipeline.rollouts.prompts import Prompt
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from tests.records import a_checked, a_question

OPEN = a_question(kind="none", answer=None)
CHOICE = a_question(kind="none", answer=None, choices=("a cat", "a dog"), text="What is it?")


def voted(answers: Sequence[str], question: object = OPEN, **options: object) -> Pairs:
    texts = [f"Way {i}: let me see.\nFinal answer: {answer}" for i, answer in enumerate(answers)]
    rollouts = [a_checked(OPEN, i, text, None, extracted=None) for i, text in enumerate(texts)]
    recipe = Recipe(SamplingSettings(), PairingSettings(strategies=("vote",), options={"vote": options}), seed=0)
    return asyncio.run(Vote().pair(question, Prompt("How many?", "cot-final-en@1"), rollouts, None, recipe))  # type: ignore[arg-type]


def test_the_majority_is_chosen_over_the_few_and_the_pair_says_so() -> None:
    made = voted(["0.5", "1/2", "\\frac12", "0.50", "3"])
    assert {(p.chosen_answer == "3", p.rejected_answer) for p in made.pairs} == {(False, "3")}
    assert {(p.strategy, p.chosen_rule, p.rejected_rule, p.checker, p.answer) for p in made.pairs} == {
        ("vote", "majority_4_of_5", "minority", "vote@1", None)
    }


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["1", "2", "3", "4"], "no_majority"),
        (["1", "1", "2", "2"], "no_majority"),
        (["7", "7", "7", "7"], "unanimous"),
    ],
)
def test_without_a_clear_majority_there_is_no_pair(answers: list[str], reason: str) -> None:
    made = voted(answers)
    assert (list(made.pairs), made.reason) == ([], reason)


def test_responses_that_name_a_choice_vote_for_it() -> None:
    made = voted(["B", "(B)", "B", "a dog", "A"], CHOICE)
    assert made.pairs
    assert all("Final answer: A" in p.rejected for p in made.pairs)


def test_a_question_with_an_answer_is_not_voted_on() -> None:
    assert voted(["1", "1", "1", "2"], a_question()) == Pairs()


def test_cut_off_responses_count_against_a_majority() -> None:
    rollouts = [a_checked(OPEN, i, f"{i}\nFinal answer: 1", None) for i in range(3)]
    rollouts += [a_checked(OPEN, 3 + i, f"{i} no end", None, finish_reason="length") for i in range(2)]
    recipe = Recipe(SamplingSettings(), PairingSettings(strategies=("vote",)), seed=0)
    made = asyncio.run(Vote().pair(OPEN, Prompt("How many?", "cot-final-en@1"), rollouts, None, recipe))  # type: ignore[arg-type]
    assert made.reason == "no_majority"
