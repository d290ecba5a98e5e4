"""."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import Recipe
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.workers.shard import Slots, outcomes, work_shard
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from tests.pipeline.engines import TextEngine
from tests.pipeline.made import files_of, make_source
from tests.records import a_question


def plan_for(tmp_path: Path, out: str, **settings: Any) -> BuildPlan:
    source = make_source(tmp_path / "source", questions=30, open_ended=5)
    given = {"sources": [str(source)], "out": str(tmp_path / out), "shards": 2, "engine.name": "scripted", **settings}
    return make_build_plan(load_config(None, given))


def texts(source_id: str, i: int) -> str:
    return f"Way {i} for {source_id}.\nFinal answer: {int(source_id[1:]) % 17 + i % 2}"


def quiet(tally: Counter[str]) -> None:
    pass


async def test_outcomes_keep_the_rows_order_and_the_limit_on_questions_in_flight() -> None:
    running: list[int] = []
    seen: list[int] = []

    class Slow(TextEngine):
        async def sample(self, request):  # type: ignore[no-untyped-def]
            running.append(1)
            seen.append(len(running))
            await asyncio.sleep(0.02 if int(request.question.source_id) % 3 else 0.0)
            running.pop()
            return await super().sample(request)

    rows = [a_question(source_id=str(i), text=f"question {i}") for i in range(40)]
    engine = Slow(lambda *_: "Final answer: 3")
    recipe = Recipe(SamplingSettings(adaptive=False), PairingSettings(), 0)
    found = [o.row.source_id async for o in outcomes(iter(rows), engine, recipe, 5)]
    assert found == [row.source_id for row in rows]
    assert max(seen) == 5


async def test_a_question_whose_work_has_ended_is_told_though_one_before_it_is_not_done() -> None:
    first_may_end = asyncio.Event()

    class Held(TextEngine):
        async def sample(self, request):  # type: ignore[no-untyped-def]
            if request.question.source_id == "0":
                await first_may_end.wait()
            return await super().sample(request)

    at_work = done = most = 0

    def moved(begun: int, ended: int) -> None:
        nonlocal at_work, done, most
        at_work, done, most = at_work + begun, done + ended, max(most, at_work + begun)
        if done == 9:
            first_may_end.set()

    rows = [a_question(source_id=str(i), text=f"question {i}") for i in range(10)]
    recipe = Recipe(SamplingSettings(adaptive=False), PairingSettings(), 0)
    engine = Held(lambda *_: "Final answer: 3")
    found = [o async for o in outcomes(iter(rows), engine, recipe, 4, moved=moved)]
    assert len(found) == done == 10
    assert (at_work, most) == (0, 4)


async def test_the_same_question_twice_is_counted_as_a_duplicate() -> None:
    row = a_question()
    rows: list[Question | Reject] = [row, row, Reject(source="test", source_id="row 2", reason="torn_line")]
    recipe = Recipe(SamplingSettings(), PairingSettings(), 0)
    engine = TextEngine(lambda _, i: f"{i} Final answer: {3 + i % 2}")
    found = [o.row async for o in outcomes(iter(rows), engine, recipe, 4)]
    assert [r.reason for r in found] == [None, "duplicate_question", "torn_line"]


async def test_a_broken_shard_goes_on_from_its_journal_and_comes_out_the_same(tmp_path: Path) -> None:
    whole, broken = plan_for(tmp_path, "whole"), plan_for(tmp_path, "broken")
    reference = TextEngine(texts)
    for shard in (0, 1):
        await work_shard(whole, shard, reference, quiet)
    asked: list[tuple[str, str]] = []
    for shard in (1, 0):
        for breaks_at in (3, 1, 8):
            engine = TextEngine(texts, breaks_at=breaks_at)
            with pytest.raises(ConnectionError):
                await work_shard(broken, shard, engine, quiet)
            asked += engine.asked
        last = TextEngine(texts)
        await work_shard(broken, shard, last, quiet)
        asked += last.asked
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")
    assert sorted(asked) == sorted(reference.asked), "nothing twice, nothing missing"


async def test_a_torn_journal_line_costs_one_request(tmp_path: Path) -> None:
    whole, broken = plan_for(tmp_path, "whole"), plan_for(tmp_path, "broken")
    await work_shard(whole, 0, TextEngine(texts), quiet)
    first = TextEngine(texts, breaks_at=6)
    with pytest.raises(ConnectionError):
        await work_shard(broken, 0, first, quiet)
    (segment,) = [p for p in (tmp_path / "broken" / "journal").rglob("*") if p.is_file()]
    segment.write_bytes(segment.read_bytes()[:-20])
    second = TextEngine(texts)
    await work_shard(broken, 0, second, quiet)
    assert len(set(first.asked) & set(second.asked)) == 1
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")


async def test_damaged_journal_lines_are_made_again(tmp_path: Path) -> None:
    whole, broken = plan_for(tmp_path, "whole"), plan_for(tmp_path, "broken")
    await work_shard(whole, 0, TextEngine(texts), quiet)
    with pytest.raises(ConnectionError):
        await work_shard(broken, 0, TextEngine(texts, breaks_at=6), quiet)
    (segment,) = [p for p in (tmp_path / "broken" / "journal").rglob("*") if p.is_file()]
    said = segment.read_bytes()
    assert said.count(b"incorrect") >= 1 or said.count(b"Final answer") >= 1
    segment.write_bytes(said.replace(b"answer", b"answes").replace(b'"rollouts"', b'"rollouds"', 1))
    await work_shard(broken, 0, TextEngine(texts), quiet)
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")


async def test_damaged_lines_of_versions_without_checksums_stop_nothing(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "out")
    rows = [row for row in plan.read(0) if isinstance(row, Question)]
    folder = tmp_path / "out" / layout.shard_key("journal", 0, plan.config.shards)
    folder.mkdir(parents=True)
    broken = ({"rollouds": []}, {"rollouts": [{"text": 1}]}, {"rollouts": 7}, {"reject": 5})
    lines = [
        json.dumps({"question": row.question_id, "step": "sample/0", **said})  # type: ignore[dict-item]
        for row, said in zip(rows, broken, strict=False)
    ]
    (folder / "000000-000000.jsonl").write_text("\n".join([*lines, '{"step": 1}', '{"question": []}']) + "\n")
    await work_shard(plan, 0, TextEngine(texts), quiet)
    await work_shard(whole := plan_for(tmp_path, "whole"), 0, TextEngine(texts), quiet)
    assert whole.digest == plan.digest
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


async def test_counts_add_up_and_every_row_is_kept(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "out", **{"pairing.strategies": ["correctness"]})
    manifests = [await work_shard(plan, shard, TextEngine(texts), quiet) for shard in (0, 1)]
    for manifest in manifests:
        counts = manifest.counts
        lost = sum(counts.unpaired.values()) + sum(counts.rejected.values())
        assert counts.questions == counts.paired + lost
    assert sum(m.counts.questions for m in manifests) == 35


async def test_a_finished_shard_leaves_no_journal(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "out")
    await work_shard(plan, 0, TextEngine(texts), quiet)
    assert not [p for p in (tmp_path / "out" / "journal").rglob("*") if p.is_file()]


async def test_a_finished_shard_is_left_as_it_is(tmp_path: Path) -> None:
    """As when a worker dies between its manifest and its answer, and Ray runs the task again."""
    plan = plan_for(tmp_path, "out")
    manifest = await work_shard(plan, 0, TextEngine(texts), quiet)
    again = TextEngine(texts)
    assert await work_shard(plan, 0, again, quiet) == manifest
    assert again.asked == []


async def test_small_shards_side_by_side_share_the_questions_in_flight_and_come_out_the_same(tmp_path: Path) -> None:
    running, most = 0, 0

    class Slow(TextEngine):
        async def sample(self, request):  # type: ignore[no-untyped-def]
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1
            return await super().sample(request)

    plan = plan_for(tmp_path, "together", shards=35, in_flight=8)
    slots = Slots(8)
    await asyncio.gather(*(work_shard(plan, shard, Slow(texts), quiet, slots) for shard in range(35)))
    assert most == 8, "shards of one question each"

    alone = plan_for(tmp_path, "alone", shards=35)
    for shard in range(35):
        await work_shard(alone, shard, TextEngine(texts), quiet)
    assert files_of(tmp_path / "together") == files_of(tmp_path / "alone")


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
