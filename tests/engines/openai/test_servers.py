"""Several servers as one engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.openai import servers
from mmpr_pipeline.engines.openai.client import RetryPolicy
from mmpr_pipeline.engines.openai.servers import OpenAiServers
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.engines.settings import EngineSettings
from tests.engines.contract import ask, seen_question
from tests.engines.openai.fake_server import FakeServer, text_of

QUICK = RetryPolicy(timeout=1.0, attempts=4, first_delay=0.01, longest_delay=0.05, outage=0.5)


def settings(*urls: str) -> EngineSettings:
    return EngineSettings(name="openai", model="m", base_url=",".join(urls))


async def answers(engine: Any, count: int) -> list[list[str]]:
    asked = [ask(seen_question(f"q{i}"), seed=i * 5000) for i in range(count)]
    return [[r.text for r in each] for each in await asyncio.gather(*map(engine.sample, asked))]


def wanted(count: int) -> list[list[str]]:
    return [[text_of(i * 5000 + j) for j in range(4)] for i in range(count)]


async def test_questions_are_spread_and_each_keeps_to_its_server() -> None:
    with FakeServer() as one, FakeServer() as two:
        engine = await asyncio.to_thread(OpenAiServers, settings(one.url, two.url), QUICK)
        one.asked.clear()
        two.asked.clear()
        assert await answers(engine, 24) == wanted(24)
        first = [len(one.asked), len(two.asked)]
        assert min(first) >= 5
        assert await answers(engine, 24) == wanted(24)
        assert [len(one.asked), len(two.asked)] == [2 * first[0], 2 * first[1]]
        assert engine.info.engines == 2
        assert (await engine.stats()).rollouts == 2 * 24 * 4
        await engine.close()


async def test_a_server_that_goes_away_and_comes_back_costs_time_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(servers, "AWAY_SECONDS", 0.3)
    with FakeServer() as one, FakeServer() as two:
        engine = await asyncio.to_thread(OpenAiServers, settings(one.url, two.url), QUICK)
        two.gone = True
        two.asked.clear()
        assert await answers(engine, 24) == wanted(24)
        assert two.asked == []
        two.gone = False
        await asyncio.sleep(0.4)
        assert await answers(engine, 24) == wanted(24)
        assert len(two.asked) >= 5
        assert "answers again" in caplog.text
        await engine.close()


async def test_a_server_that_is_not_up_yet_is_met_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "AWAY_SECONDS", 0.1)
    with FakeServer() as one:
        late = FakeServer()
        url = late.url
        late.server_close()
        engine = await asyncio.to_thread(OpenAiServers, settings(one.url, url), QUICK)
        assert await answers(engine, 8) == wanted(8)
        with FakeServer(port=int(url.split(":")[2].split("/")[0])) as two:
            await asyncio.sleep(0.2)
            assert await answers(engine, 24) == wanted(24)
            assert len(two.asked) >= 5
            await engine.close()


def test_no_server_at_all_is_an_error_at_once_and_every_address_is_checked() -> None:
    with pytest.raises(EngineError, match="None of 2 servers"):
        make_engine(settings("http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"))
    with pytest.raises(ValidationError, match="saved with the output"):
        settings("http://a:8000/v1", "http://me:secret@b:8000/v1")
