from __future__ import annotations

from typing import cast

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import QuestionOutcome
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
from mmpr_pipeline.pipeline import question as question_module
from mmpr_pipeline.pipeline.question import work_question
from mmpr_pipeline.rollouts.sampling import SamplingSettings, sampling_seed
from tests.pipeline.engines import TextEngine
from tests.records import a_question

FLAT = Recipe(SamplingSettings(samples=8, adaptive=False), PairingSettings(), seed=0)
ADAPTIVE = Recipe(SamplingSettings(samples=32), PairingSettings(), seed=0)
OPEN = a_question(kind="none", answer=None, text="Describe it.")


def counted(answer: object, number: int) -> str:
    return f"I count them in way {number}.\nFinal answer: {answer}"


async def outcome_of(engine: TextEngine, recipe: Recipe = FLAT, question: object = None) -> QuestionOutcome:
    return await work_question(
        question or a_question(), engine, recipe, [STRATEGIES.get(name)() for name in recipe.pairing.strategies]
    )  # type: ignore[arg-type]


async def test_right_and_wrong_answers_become_pairs_with_provenance() -> None:
    engine = TextEngine(lambda _, i: counted(3 if i % 2 else 7, i))
    outcome = await outcome_of(engine)
    row = outcome.row
    assert (row.status, row.reason, row.correct, row.incorrect, row.pairs) == ("paired", None, 4, 4, 15)
    pair = outcome.pairs[0]
    assert (pair.chosen_answer, pair.rejected_answer, pair.strategy) == ("3", "7", "correctness")
    assert outcome.rollouts[pair.chosen_index].text == pair.chosen
    assert outcome.rollouts[pair.rejected_index].seed == pair.rejected_seed
    assert pair.prompt.startswith("How many circles are there?")
    assert engine.asked == [("q1", "sample/0")], "one request for all samples of a question"


@pytest.mark.parametrize(
    ("answers", "blind", "can_continue", "reason"),
    [
        ([7, 8], "", True, "no_correct"),
        (["", ""], "", True, "all_unparseable"),
        ([3, 3], counted(3, 0), True, "still_correct"),
        ([3, 3], "", True, "empty_continuation"),
        ([3, 3], "x", False, "all_correct"),
    ],
)
async def test_questions_without_a_pair_say_why(
    answers: list[object], blind: str, can_continue: bool, reason: str
) -> None:
    def text(_: str, i: int) -> str:
        return counted(answers[i % 2], i) if answers[i % 2] else "who knows" + "?" * i

    engine = TextEngine(text, lambda kept: kept + blind, can_continue=can_continue)
    row = (await outcome_of(engine)).row
    assert (row.status, row.reason) == ("unpaired", reason)


async def test_all_correct_responses_are_cut_and_continued_without_the_image() -> None:
    engine = TextEngine(lambda _, i: counted(3, i), lambda kept: kept + " and see.\nFinal answer: 9")
    outcome = await outcome_of(engine)
    assert {p.strategy for p in outcome.pairs} == {"dropout_ntp"}
    assert len(outcome.pairs) == FLAT.pairing.dropout_pairs
    pair = outcome.pairs[0]
    assert pair.rejected[: pair.shared_chars] == pair.chosen[: pair.shared_chars]
    assert pair.shared_chars > 0
    assert pair.rejected_answer == "9"
    assert [r.index for r in outcome.rollouts] == list(range(FLAT.sampling.samples + 2)), "continuations come last"
    for pair in outcome.pairs:
        assert outcome.rollouts[pair.rejected_index].parent == pair.chosen_index


@pytest.mark.parametrize("strategies", [("dropout_ntp",), ("step",)])
async def test_tokens_are_those_that_were_generated_not_what_continuations_and_steps_keep(
    strategies: tuple[str, ...],
) -> None:
    engine = ScriptedEngine(parse_script({"solve_rate": 1.0, "extremes": 0.0, "tokens": 200}))
    rules = PairingSettings(strategies=strategies, dropout_pairs=6)
    made = await outcome_of(cast(TextEngine, engine), Recipe(FLAT.sampling, rules, seed=0))
    assert [r for r in made.rollouts if r.parent is not None and r.prefix_chars]
    assert made.row.generated_tokens == pytest.approx((await engine.stats()).tokens, rel=0.01)


async def test_open_questions_are_sampled_only_as_often_as_they_are_cut() -> None:
    engine = TextEngine(lambda _, i: f"A red circle and a blue square, picture {i}.")
    outcome = await outcome_of(engine, ADAPTIVE, OPEN)
    assert outcome.row.rollouts == ADAPTIVE.pairing.dropout_pairs
    assert len(outcome.pairs) == ADAPTIVE.pairing.dropout_pairs
    assert all(p.answer is None and p.prompt == "Describe it." for p in outcome.pairs)


async def test_rounds_end_as_soon_as_all_pairs_can_be_made() -> None:
    engine = TextEngine(lambda _, i: counted(3 if i % 2 else 7, i))
    outcome = await outcome_of(engine, ADAPTIVE)
    assert (outcome.row.rollouts, outcome.row.rounds, outcome.row.pairs) == (8, 1, 15)
    rare = TextEngine(lambda _, i: counted(3 if i % 6 == 0 else 7, i))
    outcome = await outcome_of(rare, ADAPTIVE)
    assert outcome.row.pairs == 15
    assert [r.index for r in outcome.rollouts] == list(range(outcome.row.rollouts))
    assert len({r.seed for r in outcome.rollouts}) == outcome.row.rollouts
    rounds = range(outcome.row.rounds)
    assert len(rounds) == 2
    assert rare.asked == [("q1", f"sample/{number}") for number in rounds]
    starts = {sampling_seed(ADAPTIVE.seed, a_question().question_id, number) for number in rounds}
    assert starts <= {r.seed for r in outcome.rollouts}, "each round begins where its number says"


async def test_a_question_that_cannot_be_served_is_rejected_by_name() -> None:
    outcome = await outcome_of(TextEngine(lambda *_: ""), question=a_question(source_id="too-long"))
    assert (outcome.row.status, outcome.row.reason) == ("rejected", "prompt_too_long")
    assert outcome.row.detail == "9,000 tokens of 8,192"


async def test_a_cut_off_response_is_in_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TextEngine(lambda _, i: counted(3 if i % 2 else 7, i))
    plain = engine.sample

    async def cut(request):  # type: ignore[no-untyped-def]
        return [r.model_copy(update={"finish_reason": "length"}) for r in await plain(request)]

    monkeypatch.setattr(engine, "sample", cut)
    outcome = await outcome_of(engine)
    assert (outcome.row.unparseable, outcome.row.reason) == (8, "all_unparseable")
    assert {r.rule for r in outcome.rollouts} == {"cut_off"}


def thought(chain: str, answer: object) -> str:
    return f"<think>{chain} The answer is 99.</think>\nFinal answer: {answer}"


async def test_thinking_is_read_past_and_what_never_ends_its_thinking_is_in_no_pair() -> None:
    texts = [
        thought("A", 3),
        thought("B", 7),
        "Final answer: 3",
        "<think>Let me see. Final answer: 7",
        "<think>3</think>",
    ]
    engine = TextEngine(lambda _, i: texts[i % 5] if i < 5 else texts[0])
    outcome = await outcome_of(
        engine, Recipe(SamplingSettings(samples=5, adaptive=False, style="cot-think"), PairingSettings(), seed=0)
    )
    assert [(r.outcome, r.extracted) for r in outcome.rollouts[:2]] == [("correct", "3"), ("incorrect", "7")]
    assert [r.outcome for r in outcome.rollouts[2:5]] == ["unparseable"] * 3
    assert [r.rule for r in outcome.rollouts[2:4]] == ["no_thinking"] * 2
    assert [(pair.chosen, pair.rejected) for pair in outcome.pairs] == [(texts[0], texts[1])]
    assert "<think>" in outcome.pairs[0].prompt


async def test_a_blind_continuation_that_never_ends_its_thinking_is_not_rejected_against_one_that_does() -> None:
    recipe = Recipe(SamplingSettings(samples=4, adaptive=False, style="cot-think"), PairingSettings(), seed=0)
    closed = TextEngine(
        lambda _, i: thought(f"Way {i} is long enough.", 3), lambda kept: f"{kept} so</think>\nFinal answer: 8"
    )
    pairs = (await outcome_of(closed, recipe)).pairs
    assert [(pair.strategy, pair.rejected_answer) for pair in pairs] == [("dropout_ntp", "8")] * 2
    endless = TextEngine(lambda _, i: thought(f"Way {i} is long enough.", 3), lambda kept: f"{kept} and so on")
    assert (await outcome_of(endless, recipe)).row.reason == "unfinished_thinking"


async def test_rounds_are_decided_by_distinct_right_and_wrong_texts_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unparseable ones count for neither side, and a text that comes again counts once."""
    asked: list[tuple[int, int, int]] = []

    def note(correct: int, incorrect: int, sampled: int, **_: object) -> int:
        asked.append((correct, incorrect, sampled))
        return 8 if sampled < 16 else 0

    monkeypatch.setattr(question_module, "next_round", note)
    said = [counted(3, 0), counted(3, 0) + "  ", counted(3, 1), counted(7, 0)]
    await outcome_of(TextEngine(lambda _, i: said[i] if i < 4 else "who knows" + "?" * i), ADAPTIVE)
    assert asked == [(0, 0, 0), (2, 1, 8), (2, 1, 16)]


async def test_a_refused_continuation_is_the_reason_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TextEngine(lambda _, i: counted(3, i), lambda kept: kept + " and see.\nFinal answer: 9")
    plain, refused = engine.continue_without_image, ["too_short_to_cut", "prompt_too_long"]

    async def refuse(request):  # type: ignore[no-untyped-def]
        if refused:
            raise ItemRejected(refused.pop())
        return await plain(request)

    monkeypatch.setattr(engine, "continue_without_image", refuse)
    outcome = await outcome_of(engine)
    assert FLAT.pairing.dropout_pairs == 2
    assert (outcome.row.status, outcome.row.reason) == ("unpaired", "prompt_too_long")
    refused.append("too_short_to_cut")
    outcome = await outcome_of(engine)
    assert (outcome.row.status, outcome.row.reason, outcome.row.pairs) == ("paired", None, 1)
