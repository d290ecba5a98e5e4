"""Feedback pairs: claims, the model's own word on each, scores, and pairs whose lengths balance."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter

import pytest
from pydantic import ValidationError

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Image, Rollout
from mmpr_pipeline.dataset.files.lookup import StoredQuestion
from mmpr_pipeline.dataset.review.beside import beside_sentences
from mmpr_pipeline.engines.engine import EngineInfo, EngineStats, SampleRequest, choice_probabilities, probabilities
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.pairing.feedback import Feedback, ScoredAnswer, pick, split_claims
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.from_rollouts import StoredEngine
from mmpr_pipeline.pipeline.question import work_question
from mmpr_pipeline.rollouts.prompts import NO_PARENT, Prompt, asked_label, counted_as
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from tests.records import a_question, a_rollout

IMAGE = Image(sha256="a" * 64, data=b"", format="png", width=1, height=1)
QUESTION = a_question(kind="none", answer=None, images=(IMAGE,), text="Describe the picture.")


def answer(index: int, text: str) -> CheckedRollout:
    rollout = a_rollout(QUESTION, index, text)
    return CheckedRollout(
        **rollout.model_dump(), source="test", source_id="q1", outcome=None, extracted=None, rule=None, checker=None
    )


class Truthful:
    """Says yes to claims about a dog and no to claims about a cat; counts what it was asked."""

    can_continue = False
    info = EngineInfo(engine="truthful", model="truthful", context=None, can_continue=False)

    def __init__(self, listed: str = "") -> None:
        self.asked: list[SampleRequest] = []
        self.listed = listed

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        self.asked.append(request)
        text = json.dumps([0.1, 0.8] if "cat" in request.prompt else [0.7, 0.2]) if request.words else self.listed
        return [a_rollout(request.question, 0, text).model_copy(update={"prompt_version": request.prompt_version})]

    async def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None:
        pass


def made(engine: object, answers: list[CheckedRollout], **options: object) -> object:
    pairing = PairingSettings(strategies=("feedback",), options={"feedback": options})
    recipe = Recipe(sampling=SamplingSettings(), pairing=pairing, seed=0)
    return asyncio.run(Feedback().pair(QUESTION, Prompt("<image>\nDescribe it.", "open-en@1"), answers, engine, recipe))  # type: ignore[arg-type]


ANSWERS = [
    answer(0, "A dog sits there. It looks up."),
    answer(1, "A dog sits there. A cat sleeps. The cat is red."),
    answer(2, "A cat stands on a mat. It looks down at it."),
]


def test_answers_with_fewer_denied_claims_are_preferred() -> None:
    engine = Truthful()
    found = made(engine, ANSWERS)
    assert {(p.chosen_index, p.rejected_index) for p in found.pairs} <= {(0, 1), (0, 2), (2, 1)}  # type: ignore[attr-defined]
    assert len(found.pairs) == 2  # type: ignore[attr-defined]
    assert {p.strategy for p in found.pairs} == {"feedback"}  # type: ignore[attr-defined]
    assert len(engine.asked) == 6  # one question a claim, each with the image; two answers share a claim
    assert all(request.question.images and request.words == ("yes", "no") for request in engine.asked)
    assert len({request.prompt_version for request in engine.asked}) == 6  # a journal tells them apart


def test_a_difference_of_two_leaves_out_the_close_ones() -> None:
    found = made(Truthful(), ANSWERS, difference=2)
    assert [(p.chosen_index, p.rejected_index) for p in found.pairs] == [(0, 1)]  # type: ignore[attr-defined]


def test_the_model_may_split_the_claims() -> None:
    engine = Truthful(listed="Here:\n- There is a dog.\n2. There is a cat.\nnothing more")
    made(engine, ANSWERS[:2], claims="model")
    prompts = [request.prompt for request in engine.asked if request.words]
    assert [re.findall(r'"(.*)"', prompt) for prompt in prompts] == [["There is a dog."], ["There is a cat."]]


def test_equal_scores_and_single_answers_make_no_pair() -> None:
    assert made(Truthful(), [ANSWERS[0], answer(3, "A dog runs there. It looks up.")]).reason == "same_scores"  # type: ignore[attr-defined]
    assert made(Truthful(), ANSWERS[:1]).reason == "too_few_answers"  # type: ignore[attr-defined]


def test_wrong_answers_are_left_to_correctness() -> None:
    wrong = [each.model_copy(update={"outcome": "incorrect"}) for each in ANSWERS]
    found = made(Truthful(), wrong)
    assert (list(found.pairs), found.reason) == ([], None)  # type: ignore[attr-defined]


def test_an_engine_that_tells_no_probabilities_rejects_by_name() -> None:
    class Silent(Truthful):
        async def sample(self, request: SampleRequest) -> list[Rollout]:
            return [a_rollout(request.question, 0, "yes")]

    assert made(Silent(), ANSWERS).reason == "no_choice"  # type: ignore[attr-defined]


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError, match=r"feedback\.differnce"):
        made(Truthful(), ANSWERS, differnce=1)
    strategy = STRATEGIES.get("feedback")()
    assert isinstance(strategy, Feedback)


def test_recorded_answers_cannot_be_asked_about() -> None:
    engine = {"name": "replay", "rollouts": "rollouts.jsonl"}
    settings = {"sources": ["nano_describe"], "engine": engine, "pairing": {"strategies": ["feedback"]}}
    with pytest.raises(ValueError, match="recorded rollouts cannot be sampled again: no feedback"):
        BuildConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("One dog. Two cats! Three?", ["One dog.", "Two cats!", "Three?"]),
        ("It costs 3.5 euros. So it is.", ["It costs 3.5 euros.", "So it is."]),
        ("- a dog\n- a cat", ["a dog", "a cat"]),
        ("有一只狗。有一只猫。", ["有一只狗。", "有一只猫。"]),
        ("Same. Same. 12.", ["Same."]),
        ("It shows a dog, two cats and a red ball.", ["It shows a dog", "two cats", "a red ball."]),
        ("A man, who is tall, and the dog run and jump.", ["A man, who is tall, and the dog run and jump."]),
        ("", []),
    ],
)
def test_claims_are_sentences_and_what_they_list(text: str, claims: list[str]) -> None:
    assert split_claims(text) == claims


def test_every_claim_is_kept_with_its_probabilities_and_tokens() -> None:
    found = made(Truthful(), ANSWERS)
    kept = {rollout.extracted: rollout for rollout in found.rollouts}  # type: ignore[attr-defined]
    cat = kept["A cat sleeps."]
    assert (json.loads(cat.text), cat.rule, cat.parent) == ([0.1, 0.8], "denied", NO_PARENT)
    assert kept["A dog sits there."].rule == "upheld"
    assert counted_as(cat.prompt_version) == "claim"
    assert asked_label(cat.prompt_version) == "open-en@1"
    assert found.detail == "claims denied, by answer: 0: 0 of 2, 1: 2 of 3, 2: 1 of 2"  # type: ignore[attr-defined]


def test_summary_report_and_card_say_what_feedback_took() -> None:
    counts = {"rollouts": {"claim": 5120, "claims": 16}, "beside_tokens": {"claim": 5120, "claims": 700}, "pairs": {},
              "unpaired": {"same_scores": 3}}  # fmt: skip
    [told] = beside_sentences(counts)
    assert told == (
        "Feedback: 5,120 verdicts of the model on claims (5,120 tokens), 16 lists of claims (700): 0 pairs; 3 "
        "questions whose answers all score alike."
    )


class Reasoning(Truthful):
    """Reasons about each claim; of three answers about a cat, one is wrong and one says nothing."""

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        self.asked.append(request)
        texts = ["It is there.\nFinal answer: Yes"] * request.n
        if "cat" in request.prompt:
            texts = ["No cat.\nFinal answer: No", "I cannot tell.", "Final answer: No", "Final answer: Yes"][
                : request.n
            ]
        return [
            a_rollout(request.question, index, text).model_copy(update={"prompt_version": request.prompt_version})
            for index, text in enumerate(texts)
        ]


def test_a_majority_of_reasoned_answers_decides_where_no_probabilities_do() -> None:
    engine = Reasoning()
    found = made(engine, ANSWERS, verify="reasoning", votes=4)
    assert found.detail == "claims denied, by answer: 0: 0 of 2, 1: 2 of 3, 2: 1 of 2"  # type: ignore[attr-defined]
    assert all(request.words == () and request.n == 4 for request in engine.asked)
    assert all("Think step by step" in request.prompt and "yes or no" not in request.prompt for request in engine.asked)
    assert len({request.seed for request in engine.asked}) == 6
    rules = Counter((r.extracted, r.rule) for r in found.rollouts)  # type: ignore[attr-defined]
    assert (rules["A cat sleeps.", "denied"], rules["A cat sleeps.", None], rules["A cat sleeps.", "upheld"]) == (
        2,
        1,
        1,
    )


def test_an_answer_that_was_cut_off_has_no_vote() -> None:
    class Endless(Reasoning):
        async def sample(self, request: SampleRequest) -> list[Rollout]:
            return [r.model_copy(update={"finish_reason": "length"}) for r in await super().sample(request)]

    found = made(Endless(), ANSWERS, verify="reasoning")
    assert found.reason == "same_scores"  # type: ignore[attr-defined]
    assert {r.rule for r in found.rollouts} == {None}  # type: ignore[attr-defined]


def test_a_single_reasoned_answer_is_greedy() -> None:
    engine = Reasoning()
    made(engine, ANSWERS, verify="reasoning")
    assert {(request.n, request.decoding.temperature) for request in engine.asked} == {(1, 0)}


def test_lists_of_the_model_are_kept_too() -> None:
    found = made(Truthful(listed="- There is a dog.\n- There is a cat."), ANSWERS[:2], claims="model")
    names = Counter(counted_as(rollout.prompt_version) for rollout in found.rollouts)  # type: ignore[attr-defined]
    assert names == {"claims": 2, "claim": 2}


@pytest.mark.parametrize("verify", ["first_word", "reasoning"])
async def test_a_rebuild_scores_again_without_an_engine(verify: str) -> None:
    """From a scripted engine's answers and probabilities as a shard keeps them: the same pairs and the same rows."""
    options = {"feedback": {"claims": "model", "verify": verify, "votes": 3}}
    recipe = Recipe(SamplingSettings(), PairingSettings(strategies=("feedback",), options=options), seed=0)
    strategy = STRATEGIES.get("feedback")()
    engine = ScriptedEngine(parse_script({}))
    questions = [QUESTION.model_copy(update={"question_id": f"{n:032x}", "source_id": f"q{n}"}) for n in range(6)]
    first = [await work_question(question, engine, recipe, [strategy]) for question in questions]
    assert verify == "reasoning" or sum(len(each.pairs) for each in first) >= 2  # scripted prose is neither yes nor no
    stored = [
        StoredQuestion(each.row, each.images, tuple(Rollout(**{n: getattr(r, n) for n in Rollout.model_fields})
                                                    for r in each.rollouts))
        for each in first
    ]  # fmt: skip
    kept = StoredEngine(iter(stored))
    again = [await work_question(each.question(), kept, recipe, [strategy]) for each in stored]
    for one, two in zip(first, again, strict=True):
        assert two.pairs == one.pairs
        assert two.rollouts == one.rollouts
        assert two.row == one.row


@pytest.mark.parametrize(
    "text", ["." * 100_000, "a" * 100_000, "a." * 50_000, ", a" * 50_000, "\n" * 100_000, "。" * 50_000]
)
def test_hostile_answers_are_split_in_bounded_time(text: str) -> None:
    assert len(split_claims(text)) <= 32


def test_lengths_balance() -> None:
    """Of many pairs of equal merit, those are taken whose chosen and rejected lengths sum up alike."""

    def scored(index: int, length: int, denied: int) -> ScoredAnswer:
        return ScoredAnswer(answer(index, "x" * length), 3, denied)

    found = pick([scored(0, 100, 0), scored(1, 40, 0), scored(2, 70, 1), scored(3, 71, 2)], 1, 2)
    assert pick([scored(0, 9, 1), scored(1, 9, 1)], 1, 2) == []
    total = sum(len(one.rollout.text) - len(two.rollout.text) for one, two in found)
    assert len(found) == 2
    assert abs(total) <= 2


def test_first_letters_tell_words_apart() -> None:
    told = [("Yes", -0.5), (" yes", -2.0), ("y", -3.0), ("NO", -1.5), ("maybe", -2.5), ("", -1.0)]
    yes, no = json.loads(probabilities(told, ("yes", "no")))
    assert yes == pytest.approx(0.6065 + 0.1353 + 0.0498, abs=1e-3)
    assert no == pytest.approx(0.2231, abs=1e-3)
    assert json.loads(probabilities([("n", -1.0)], ("no", "none"))) == [0.0, 0.0]


async def test_the_scripted_engine_chooses_the_same_each_time() -> None:
    engine = ScriptedEngine(parse_script({}))
    first = await choice_probabilities(engine, QUESTION, "<image>\nIs it?", ("yes", "no"), "v")
    assert first == await choice_probabilities(engine, QUESTION, "<image>\nIs it?", ("yes", "no"), "v")
    assert 0 <= sum(first) <= 1


async def test_a_choice_needs_probabilities() -> None:
    class Wordy(Truthful):
        async def sample(self, request: SampleRequest) -> list[Rollout]:
            return [a_rollout(request.question, 0, "[0.5]")]

    with pytest.raises(ItemRejected, match="no_choice"):
        await choice_probabilities(Wordy(), QUESTION, "<image>\nIs it?", ("yes", "no"), "v")  # type: ignore[arg-type]


def test_more_answers_are_sampled_where_they_are_compared() -> None:
    assert PairingSettings().open_responses == 2
    assert PairingSettings(strategies=("feedback",)).open_responses == 8
    assert PairingSettings(strategies=("feedback",), options={"feedback": {"answers": 4}}).open_responses == 4
