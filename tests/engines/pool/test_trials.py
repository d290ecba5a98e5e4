"""Bisecting suspects, with an engine that is a function: no Ray, no time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.engines.pool import trials
from mmpr_pipeline.engines.pool.trials import Suspect, Trials
from tests.engines.contract import ask, seen_question


class Mortal:
    """Dies of a poisonous question, and of more than `bears` requests at once."""

    def __init__(self, poison: set[str] = frozenset(), bears: int = 10**9) -> None:  # type: ignore[assignment]
        self.poison, self.bears = poison, bears
        self.groups: list[int] = []
        self.deaths = 0

    async def try_group(self, group: Sequence[Suspect]) -> bool:
        await asyncio.sleep(0)
        self.groups.append(len(group))
        if len(group) > self.bears or self.poison & {each.request.question.source_id for each in group}:
            self.deaths += 1
            return False
        for each in group:
            each.answer.set_result([])
        return True


async def judged(engine: Mortal, count: int) -> set[str]:
    """The questions that were rejected; all others were answered."""
    found = Trials(engine.try_group, 1)
    asked = [ask(seen_question(f"q{i}", images=())) for i in range(count)]
    answers = await asyncio.gather(*(found.verdict(each) for each in asked), return_exceptions=True)
    assert all(answer == [] or isinstance(answer, ItemRejected) for answer in answers)
    return {each.question.source_id for each, answer in zip(asked, answers, strict=True) if answer != []}


@pytest.mark.parametrize("which", [0, 1, 63, 100, 127])
async def test_poison_is_found_in_the_logarithm_of_the_suspects(which: int) -> None:
    engine = Mortal({f"q{which}"})
    assert await judged(engine, 128) == {f"q{which}"}
    assert engine.deaths <= 8, "log2, and one for a step too large"
    assert len(engine.groups) <= 24


async def test_two_poisonous_questions_are_both_found() -> None:
    engine = Mortal({"q3", "q90"})
    assert await judged(engine, 128) == {"q3", "q90"}
    assert engine.deaths <= 14


@pytest.mark.parametrize("bears", [1, 5, 16, 40, 64])
async def test_of_too_much_at_once_nobody_is_rejected_and_few_engines_die(bears: int) -> None:
    engine = Mortal(bears=bears)
    assert await judged(engine, 128) == set()
    assert engine.deaths <= 13
    answered = [size for size in engine.groups if size <= bears]
    assert len(answered) <= 2.2 * 128 / bears + 8, "groups stay near what the engine bears"


@pytest.mark.parametrize("bears", [16, 63, *(pytest.param(n, marks=pytest.mark.campaign) for n in (24, 40, 64, 100))])
async def test_an_overload_ends_in_less_than_twice_the_time_of_a_healthy_run(bears: int) -> None:
    """A group takes as long as its longest response, a death as long again, and another such time to start anew."""
    engine = Mortal(bears=bears)
    assert await judged(engine, 2048) == set()
    answered = len(engine.groups) - engine.deaths
    healthy = 2048 / bears
    assert answered + 2 * engine.deaths < 2 * healthy, (answered, engine.deaths, healthy)


async def test_an_error_of_the_pool_reaches_all_who_wait() -> None:
    async def no_engine(group: Sequence[Suspect]) -> bool:
        raise EngineError("no engine comes back")

    found = Trials(no_engine, 1)
    asked = [found.verdict(ask(seen_question(f"q{i}", images=()))) for i in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [EngineError] * 5


async def test_who_gives_up_waiting_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "GATHER_SECONDS", 0.05)
    engine = Mortal()
    found = Trials(engine.try_group, 1)
    tasks = [asyncio.create_task(found.verdict(ask(seen_question(f"q{i}", images=())))) for i in range(4)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [[], [], []]
    assert sum(engine.groups) == 3
