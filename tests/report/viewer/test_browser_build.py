"""A build at work, and rows that it rejected, seen in a real browser."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import EngineStats, SampleRequest
from mmpr_pipeline.engines.journalled import WrappedEngine
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.output import claim_output, finish
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.watch import progress_file
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.report.viewer.live import newest_rollouts
from mmpr_pipeline.storage import open_store
from tests.pipeline.made import make_source, png
from tests.report.viewer.driven import Browser, serving

pytestmark = pytest.mark.slow
QUESTIONS = 12


class HeldEngine(WrappedEngine):
    """Answers as many requests as it was allowed to, then waits."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self._allowed = threading.Semaphore(0)

    def allow(self, requests: int) -> None:
        """Answer some more."""
        self._allowed.release(requests)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """The inner engine's rollouts, once they are allowed."""
        await asyncio.to_thread(self._allowed.acquire)
        return await super().sample(request)


def a_plan(source: Path, out: Path, shards: int = 2) -> BuildPlan:
    script = {"solve_rate": 0.5, "extremes": 0.0, "variety": 40}
    settings = {"sources": [str(source)], "out": str(out), "shards": shards, "engine.name": "scripted"}
    sampling = {"sampling.adaptive": False, "sampling.samples": 4, "engine.script": script, "in_flight": 1}
    return make_build_plan(load_config(None, {**settings, **sampling, "screening.decontaminate": False}))


@contextmanager
def building(plan: BuildPlan, engine: HeldEngine, begin: threading.Event) -> Iterator[None]:
    """A build in a thread, as the driver does it but without Ray; its output is claimed, the rest waits for `begin`."""
    store = open_store(plan.config.out)
    claimed, total = threading.Event(), Counter[str]()

    def work() -> None:
        with store.lease():
            word = progress_file.ProgressFile(store)
            word.stage("starting the engine")
            claim_output(store, plan)
            claimed.set()
            assert begin.wait(120)
            word.planned(plan, plan.config.shards)
            for shard in range(plan.config.shards):
                before = Counter(total)

                def report(tally: Any, shard: int = shard, before: Counter[str] = before) -> None:
                    total.update({name: before[name] + n - total[name] for name, n in tally.items()})
                    word.show(shard, dict(total), EngineStats)

                asyncio.run(work_shard(plan, shard, engine, report))
            finish(store, plan, {"shards": plan.config.shards})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert claimed.wait(120)
        yield
    finally:
        begin.set()
        engine.allow(1000)
        thread.join(120)


def test_a_build_is_watched_from_its_first_second_to_its_end(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_file, "EVERY_LOCAL", 0.0)
    plan = a_plan(make_source(tmp_path / "source", questions=QUESTIONS), tmp_path / "out")
    engine, begin = HeldEngine(make_engine(plan.config.engine)), threading.Event()
    store = open_store(tmp_path / "out")
    top = "return document.querySelector('#live li .response')?.innerText ?? ''"
    with building(plan, engine, begin), serving(tmp_path / "out") as address:
        browser.open(address)
        browser.until(lambda: "The build starts: starting the engine" in browser.text("#live"))
        assert "0 of 2 shards" in browser.text("#totals")
        assert browser.text("#more-items") == "No shard is finished yet."
        begin.set()
        engine.allow(3)
        browser.until(lambda: f"3 of {QUESTIONS} questions" in browser.text("#live"))
        browser.until(lambda: len(newest_rollouts(store)) == 6)
        first = browser.until(lambda: browser.js(top))
        browser.keep("live-first")
        engine.allow(1)
        browser.until(lambda: f"4 of {QUESTIONS} questions" in browser.text("#live"))
        browser.until(lambda: browser.js(top) not in ("", first))
        shown = browser.js("return [...document.querySelectorAll('#live li .response')].map(r => r.innerText)")
        assert first in shown[1:], "the newest is on top, what was newest before stands below it"
        engine.allow(2)
        browser.until(lambda: "1 of 2 shards" in browser.text("#totals"))
        browser.until(lambda: len(browser.all(".item")) == QUESTIONS // 2 and browser.text(".question"))
        question = browser.text(".question")
        browser.keep("live-shard")
        engine.allow(100)
        browser.until(lambda: not browser.all("#live:not([hidden])"))
        assert browser.text("#matches") == f"{QUESTIONS} questions"
        assert f"{QUESTIONS} questions" in browser.text("#totals")
        assert browser.text(".question") == question, "what one reads stays"
        assert browser.errors() == []


def test_a_rejected_row_is_seen_with_its_picture_and_as_its_source_holds_it(tmp_path: Path, browser: Browser) -> None:
    declaration = make_source(tmp_path / "source", questions=8)
    rows = [json.loads(line) for line in (tmp_path / "source/rows.jsonl").read_text().splitlines()]
    rows[5] |= {"answer": None, "question": "How tall is <b>it</b>?"}
    (tmp_path / "source" / "5.png").write_bytes(png((200, 30, 90), (120, 80)))
    rows[6]["image"] = "gone.png"
    (tmp_path / "source/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = a_plan(declaration, tmp_path / "out")
    engine = HeldEngine(make_engine(plan.config.engine))
    engine.allow(1000)
    begin = threading.Event()
    begin.set()
    with building(plan, engine, begin):
        pass
    with serving(tmp_path / "out") as address:
        browser.open(f"{address}#f.status=rejected")
        browser.until(lambda: len(browser.all(".item")) == 2 and browser.text(".prompt pre"))
        raw = json.loads(browser.text(".prompt pre"))
        assert (raw["id"], raw["question"]) == ("q5", "How tall is <b>it</b>?")
        assert browser.text(".gold") == "Not usable: no answer: answer"
        assert browser.js("return document.querySelector('.shot img').naturalWidth") == 120
        browser.click(".shot")
        browser.until(lambda: browser.all("#zoom[open]"))
        browser.click("[data-zoom=close]")
        browser.keep("rejected")
        browser.keys("j")
        browser.until(lambda: json.loads(browser.text(".prompt pre") or "{}").get("image") == "gone.png")
        assert not browser.all(".shot")
        assert browser.errors() == []
    (tmp_path / "source/rows.jsonl").write_text("".join(json.dumps({**row, "id": "x"}) + "\n" for row in rows))
    with serving(tmp_path / "out") as address:
        browser.open(f"{address}#f.status=rejected")
        browser.until(lambda: browser.text(".gold").startswith("Not usable: no answer"))
        assert not browser.all(".prompt pre"), "the source is not what it was"
