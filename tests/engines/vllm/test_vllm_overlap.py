"""Preparing prompts beside the engine, with an engine that only counts its steps."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm import engine as vllm_engine
from mmpr_pipeline.engines.vllm.engine import VllmEngine
from mmpr_pipeline.engines.vllm.prompts import Prepared
from tests.engines.contract import ask, seen_question

LENGTH = 30  # steps of every response


class SteppedEngine:
    """Every request takes `LENGTH` steps, whatever its company; a step takes a millisecond, without Python's lock."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.turns: list[int] = []
        self.most_together = 0
        self.threads: set[str] = set()
        self.vllm_config = SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=8), cache_config=SimpleNamespace(kv_cache_size_tokens=1000)
        )
        self.calls = 0
        """Native calls of a step, each of which gives up the interpreter's lock for a moment."""
        self.engine_core = SimpleNamespace(shutdown=lambda: None)

    def get_tokenizer(self) -> Any:
        return SimpleNamespace(decode=lambda ids, **_: " ".join(map(str, ids)))

    def add_request(self, name: str, prompt: Any, params: Any, priority: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.left[name] = LENGTH
        self.turns.append(priority)

    def step(self) -> list[Any]:
        self.threads.add(threading.current_thread().name)
        self.most_together = max(self.most_together, len(self.left))
        for _ in range(self.calls):
            time.sleep(0.0001)
        time.sleep(0.001)
        ended = [name for name in self.left if self.left[name] == 1]
        self.left = {name: steps - 1 for name, steps in self.left.items() if steps > 1}
        completion = SimpleNamespace(index=0, token_ids=[1, 2, 0], finish_reason="stop")
        return [SimpleNamespace(request_id=name, finished=True, outputs=[completion]) for name in ended]


@dataclass
class Gated:
    """Prepares prompts at once, but for a question `slow`, for which it waits."""

    engine: Any
    door: threading.Event = field(default_factory=threading.Event)
    context: int = 512
    began: int = 0
    ended: int = 0

    def sample(self, request: Any, images: Any, name: str) -> Prepared:
        self.began += 1
        if request.question.source_id == "slow":
            assert self.door.wait(20)
        if request.question.source_id == "busy":
            until = time.monotonic() + 4
            while time.monotonic() < until:
                pass
        self.ended += 1
        params: Any = SimpleNamespace(max_tokens=LENGTH)
        return Prepared(name, {}, params, 10, request.question.question_id)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[VllmEngine, SteppedEngine, Gated]]:
    stepped = SteppedEngine()
    gated = Gated(stepped)

    def load(settings: Any, model: Any) -> SteppedEngine:
        stepped.threads.add(threading.current_thread().name)
        return stepped

    monkeypatch.setattr(vllm_engine, "load_engine", load)
    monkeypatch.setattr(vllm_engine, "runs_on", lambda engine: {})
    monkeypatch.setattr(vllm_engine, "PromptBuilder", lambda engine: gated)
    usual = sys.getswitchinterval()
    engine = VllmEngine(EngineSettings())
    yield engine, stepped, gated
    gated.door.set()
    asyncio.run(engine.close())
    sys.setswitchinterval(usual)


Parts = tuple[VllmEngine, SteppedEngine, Gated]


async def test_generation_goes_on_while_an_image_is_being_prepared(parts: Parts) -> None:
    engine, _, gated = parts
    slow = asyncio.create_task(engine.sample(ask(seen_question("slow"), n=1)))
    while not gated.began:
        await asyncio.sleep(0.001)
    for i in range(3):
        await asyncio.wait_for(engine.sample(ask(seen_question(f"q{i}"), n=1)), 10)
    assert not slow.done()
    assert engine._stepper.steps > 2 * LENGTH
    gated.door.set()
    assert (await slow)[0].tokens == 2


async def test_preparing_in_python_alone_does_not_starve_the_steps(parts: Parts) -> None:
    """At Python's usual 5 ms for each of a step's 200 calls, the four seconds of preparing see four steps at most."""
    engine, stepped, gated = parts
    stepped.calls = 200
    tasks = [asyncio.create_task(engine.sample(ask(seen_question(name), n=1))) for name in ("q0", "busy")]
    while gated.began < 2:
        await asyncio.sleep(0.001)
    before = engine._stepper.steps
    while gated.ended < 2:
        await asyncio.sleep(0.05)
    made = engine._stepper.steps - before
    stepped.calls = 0
    await asyncio.gather(*tasks)
    assert made > 5


async def test_the_next_questions_are_prepared_while_the_first_generate_and_join_them(parts: Parts) -> None:
    engine, stepped, gated = parts
    first = asyncio.create_task(engine.sample(ask(seen_question("q0"), n=1)))
    while not engine._stepper.steps:
        await asyncio.sleep(0.0005)
    later = [asyncio.create_task(engine.sample(ask(seen_question(f"q{i}"), n=1))) for i in range(1, 5)]
    await asyncio.gather(first, *later)
    assert gated.began == 5
    assert stepped.most_together >= 3
    assert engine._stepper.steps < 5 * LENGTH, "they ran together"


async def test_loading_and_all_calls_into_the_engine_are_made_by_one_thread(parts: Parts) -> None:
    engine, stepped, _ = parts
    await asyncio.gather(*(engine.sample(ask(seen_question(f"q{i}"), n=1)) for i in range(6)))
    assert stepped.threads == {"vllm-steps"}


async def test_a_questions_later_round_has_the_place_of_its_first(parts: Parts) -> None:
    engine, stepped, _ = parts
    for name, number in (("q0", 0), ("q1", 0), ("q0", 1), ("q2", 0)):
        await engine.sample(ask(seen_question(name), n=1, round=number))
    assert stepped.turns == [0, 1, 0, 2]


def test_the_engine_tells_what_it_holds(parts: Parts) -> None:
    assert (parts[0].info.sequences, parts[0].info.kv_tokens) == (8, 1000)
