"""Who owns an engine, and that asking for counts opens nothing."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
from typing import Any

import pytest

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines import start
from mmpr_pipeline.engines.engine import EngineStats, EngineStatsFields
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import EngineOwner, LocalEngine, start_engines
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.watch.progress_file import ProgressFile
from mmpr_pipeline.storage import open_store
from tests.engines.contract import ask, seen_question


def test_no_question_about_a_vllm_in_the_workers_loads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Counts, info, capacity and progress come without a model; the first request makes it."""
    made: list[EngineSettings] = []
    monkeypatch.setattr(start, "make_engine", lambda settings: made.append(settings))
    plan = make_build_plan(load_config(None, {"sources": ["nano_grid"], "out": str(tmp_path), "engine.actors": 0}))
    with EngineOwner(plan.start) as owner:
        engine = owner.engine
        assert isinstance(engine, LocalEngine)
        ProgressFile(open_store(str(tmp_path))).show(0, {}, owner.stats)
        assert owner.stats() == EngineStats()
        assert engine.info.model.startswith("nano@")
        assert (engine.info.engines, engine.can_continue, engine.state) == (1, True, "created")
        assert pickle.loads(pickle.dumps(engine)).info == engine.info
    assert made == []


async def test_the_states_of_an_engine_in_this_process() -> None:
    engine = LocalEngine(EngineSettings(name="scripted", script={"tokens": 9}))
    assert engine.state == "created"
    await engine.sample(ask(seen_question()))
    assert engine.state == "open"
    await engine.close()
    assert engine.state == "closed"
    with pytest.raises(EngineError, match="closed"):
        await engine.sample(ask(seen_question()))


def test_an_owner_opens_once_closes_once_and_leaves_nothing_behind() -> None:
    threads, interval, environment = set(threading.enumerate()), sys.getswitchinterval(), dict(os.environ)
    for _ in range(2):
        owner = EngineOwner(lambda: start_engines(EngineSettings(name="scripted")))
        assert owner.stats() == EngineStats()
        with owner:
            assert owner.state == "open"
            with pytest.raises(RuntimeError, match="open"):
                owner.open()
        assert owner.state == "closed"
        assert owner.stats() == EngineStats()
        owner.close()
    assert set(threading.enumerate()) == threads
    assert (sys.getswitchinterval(), dict(os.environ)) == (interval, environment)


def test_all_that_an_owner_asks_of_its_engine_is_asked_in_one_loop() -> None:
    loops = []

    class Watched(LocalEngine):
        async def stats(self) -> EngineStats:
            loops.append(asyncio.get_running_loop())
            return EngineStats(requests=len(loops))

        async def close(self) -> None:
            loops.append(asyncio.get_running_loop())

    async def start() -> Watched:
        loops.append(asyncio.get_running_loop())
        return Watched(EngineSettings(name="scripted"))

    with EngineOwner(start) as owner:
        assert [owner.stats().requests, owner.stats().requests] == [2, 3]
    assert len(loops) == 4
    assert len({id(loop) for loop in loops}) == 1


def test_an_owner_whose_engine_does_not_start_is_closed() -> None:
    owner = EngineOwner(lambda: start_engines(EngineSettings(name="vllm", model="/nowhere", actors=0)))
    with pytest.raises(EngineError, match="/nowhere"), owner:
        pass
    assert owner.state == "closed"


def test_the_json_form_of_the_counts_names_all_of_them() -> None:
    assert EngineStats().plain().keys() == EngineStatsFields.__annotations__.keys()
