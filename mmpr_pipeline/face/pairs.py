"""Pairs in memory: questions in, outcomes out, without files and without Ray."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmpr_pipeline.core.records import Question, QuestionOutcome
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.sources.python_source import as_question


def pairs(
    questions: Iterable[Question | Mapping[str, Any]],
    *,
    engine: Engine | str | Mapping[str, Any] = "vllm",
    strategies: Sequence[str] = ("correctness", "dropout_ntp"),
    sampling: Mapping[str, Any] | None = None,
    pairing: Mapping[str, Any] | None = None,
    seed: int = 0,
    in_flight: int = 64,
) -> Iterator[QuestionOutcome]:
    """Sample, check and pair questions in this process; yields each outcome as soon as those before it are done.

    `engine`: an object with the methods of `Engine`, which stays open; or the name or the settings of one (as
    `{"name": "vllm", "model": "OpenGVLab/InternVL3-1B-hf"}`), which is closed at the end. `sampling` and `pairing` are
    settings as in a build's YAML. `in_flight`: maximum concurrent questions; memory holds a few times that number.
    The same questions, settings and engine give the pairs that `build` writes. Works inside a running event loop (a
    notebook) too, as it has a loop of its own in a thread. Raises ConfigError or EngineError before the first outcome.
    """
    from mmpr_pipeline.engines.registry import make_engine
    from mmpr_pipeline.engines.settings import EngineSettings
    from mmpr_pipeline.pairing.settings import PairingSettings
    from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
    from mmpr_pipeline.pipeline.workers.shard import outcomes
    from mmpr_pipeline.rollouts.sampling import SamplingSettings

    rules = PairingSettings.model_validate({**(pairing or {}), "strategies": tuple(strategies)})
    for name in rules.strategies:
        STRATEGIES.require(name)
    recipe = Recipe(SamplingSettings.model_validate(sampling or {}), rules, seed)
    made = None
    if isinstance(engine, str):
        made = make_engine(EngineSettings(name=engine))
    elif isinstance(engine, Mapping):
        made = make_engine(EngineSettings.model_validate(engine))
    serving: Any = made or engine
    found: queue.Queue[QuestionOutcome | BaseException | None] = queue.Queue(maxsize=in_flight)
    stopped = threading.Event()

    async def work() -> None:
        try:
            rows = (as_question(item) for item in questions)
            async for outcome in outcomes(rows, serving, recipe, in_flight):
                while not stopped.is_set():
                    try:
                        found.put_nowait(outcome)
                        break
                    except queue.Full:
                        await asyncio.sleep(0.01)
                if stopped.is_set():
                    return
        finally:
            if made is not None:
                await made.close()

    def run() -> None:
        ended: BaseException | None = None
        try:
            asyncio.run(work())
        except BaseException as error:
            ended = error
        if not stopped.is_set():
            found.put(ended)

    return _yielded(threading.Thread(target=run, name="mmpr-pairs", daemon=True), found, stopped)


def _yielded(
    thread: threading.Thread, found: queue.Queue[QuestionOutcome | BaseException | None], stopped: threading.Event
) -> Iterator[QuestionOutcome]:
    thread.start()
    try:
        while (item := found.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(timeout=60)
