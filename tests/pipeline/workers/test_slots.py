"""Which question is begun next."""

from __future__ import annotations

import asyncio

import pytest

from mmpr_pipeline.pipeline.workers.slots import Slots


async def worked(slots: Slots, source: str, begun: list[str], seconds: float = 0.0) -> None:
    async with slots.place(source):
        begun.append(source)
        await asyncio.sleep(seconds)


async def test_questions_of_the_source_with_the_longest_responses_are_begun_first() -> None:
    slots = Slots(1)
    begun: list[str] = []
    slots.ended("short", [100, 120])
    slots.ended("long", [900])
    slots.ended("silent", [])
    order = ("short", "short", "long", "new", "silent", "long")
    await asyncio.gather(*(worked(slots, source, begun) for source in order))
    assert begun == ["short", "new", "silent", "long", "long", "short"], "the first found a free place"


async def test_the_first_question_of_a_source_does_not_decide_for_long() -> None:
    """The mean is 480; a moving average that begins at 2,000 would still be near it."""
    slots = Slots(1)
    begun: list[str] = []
    for tokens in (2000, 100, 100, 100, 100):
        slots.ended("short", [tokens])
    slots.ended("long", [800])
    await asyncio.gather(*(worked(slots, source, begun) for source in ("short", "short", "long")))
    assert begun == ["short", "long", "short"]


@pytest.mark.parametrize("places", [1, 3])
async def test_no_more_have_a_place_than_there_are_and_each_source_keeps_its_order(places: int) -> None:
    slots, inside, most = Slots(places), 0, 0
    order: list[int] = []

    async def one(number: int) -> None:
        nonlocal inside, most
        async with slots.place("abc"[number % 3]):
            inside += 1
            most = max(most, inside)
            order.append(number)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*map(one, range(20)))
    assert most == places
    assert all([n for n in order if n % 3 == source] == list(range(source, 20, 3)) for source in range(3))


async def test_a_place_is_not_lost_with_who_fails_or_is_cancelled() -> None:
    slots, door = Slots(1), asyncio.Event()
    begun: list[str] = []

    async def fails() -> None:
        async with slots.place("a"):
            await door.wait()
            raise ValueError("failed")

    holder = asyncio.create_task(fails())
    waiting = [asyncio.create_task(worked(slots, "a", begun)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # in line
    door.set()
    with pytest.raises(ValueError, match="failed"):
        await holder
    waiting[1].cancel()  # called, and gone before it begins
    await asyncio.gather(*waiting, return_exceptions=True)
    assert begun in (["a"], ["a", "a"])
    await asyncio.wait_for(worked(slots, "a", begun), 1)
