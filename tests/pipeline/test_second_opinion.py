"""The second opinion within a build: who is asked, what changes, and that votes are journalled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mmpr_pipeline.checking.second_opinion import CheckingSettings, SecondOpinion
from mmpr_pipeline.core.records import QuestionOutcome, Rollout
from mmpr_pipeline.engines.engine import SampleRequest
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.question import work_question
from mmpr_pipeline.pipeline.second_opinion import JournalledWithVerifier
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.storage.journal import Journal
from tests.pipeline.engines import TextEngine
from tests.records import a_question

QUESTION = a_question(kind="text", answer="couch", text="What is it?")
FLAT = Recipe(SamplingSettings(samples=6, adaptive=False), PairingSettings(), seed=0)
ANSWERS = ["couch", "sofa", "table"]


class Verifier(TextEngine):
    """Finds `sofa` right and all else wrong."""

    def __init__(self) -> None:
        super().__init__(lambda _, i: f"Final answer: {ANSWERS[i % 3]}")
        self.prompts: list[str] = []

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        rollouts = await super().sample(request)
        if not request.prompt_version.startswith("second/"):
            return rollouts
        self.prompts.append(request.prompt)
        word = "Correct" if "sofa" in request.prompt else "Incorrect"
        return [rollout.model_copy(update={"text": word}) for rollout in rollouts]


async def work(engine: object, recipe: Recipe) -> QuestionOutcome:
    return await work_question(QUESTION, engine, recipe, [STRATEGIES.get(name)() for name in recipe.pairing.strategies])  # type: ignore[arg-type]


def outcomes(outcome: QuestionOutcome) -> dict[str, tuple[str | None, str | None]]:
    return {str(r.extracted): (r.outcome, r.rule) for r in outcome.rollouts}


async def test_without_it_nothing_is_asked() -> None:
    engine = Verifier()
    assert outcomes(await work(engine, FLAT))["sofa"][0] == "unparseable"
    assert engine.prompts == []


async def test_votes_settle_what_was_doubtful_and_never_confirm_alone() -> None:
    engine = Verifier()
    found = outcomes(await work(engine, replace(FLAT, second=SecondOpinion())))
    assert found["couch"][0] == "correct"
    assert found["sofa"] == ("correct", "second_correct")
    assert found["table"] == ("incorrect", "text_differs")
    assert len(engine.prompts) == 2, "one request for each distinct answer"
    assert not any("Final answer" in prompt for prompt in engine.prompts), "no response is shown"


async def test_votes_are_journalled(tmp_path: Path) -> None:
    journal = Journal(open_store(str(tmp_path)), "journal/0", "digest", "done")
    recipe = replace(FLAT, second=SecondOpinion())
    first, second = TextEngine(lambda _, i: f"Final answer: {ANSWERS[i % 3]}"), Verifier()
    engine = JournalledWithVerifier(first, second, journal)
    before = outcomes(await work(engine, recipe))
    await engine.close()
    again = Journal(open_store(str(tmp_path)), "journal/0", "digest", "done")
    resumed = JournalledWithVerifier(first, Verifier(), again)
    asked = list(first.asked)
    assert outcomes(await work(resumed, recipe)) == before
    assert first.asked == asked
    assert resumed._verifier.prompts == []  # type: ignore[attr-defined]
    await resumed.close()


def test_it_is_part_of_the_identity_only_where_it_is_on() -> None:
    plain = BuildConfig(sources=("geoqa",), out="x")
    asked = BuildConfig(sources=("geoqa",), out="x", checking=CheckingSettings(second=SecondOpinion(votes=3)))
    assert "checking" not in plain.identity()
    checking: Any = asked.identity()["checking"]
    assert checking["second"]["votes"] == 3
    assert plain.digest() != asked.digest()
