"""Waiting for a pool's first engines, and saying what they wait for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.engine import EngineInfo
from mmpr_pipeline.engines.pool.calls import called

log = logging.getLogger(__name__)

GRACE = 5.0
"""Least seconds that engines have to be ready after the first one."""

SAY_EVERY = 30.0
"""Seconds between two lines about what is waited for."""


async def first_engines(actors: Sequence[Any], why_waiting: Callable[[], str]) -> dict[int, EngineInfo]:
    """The engines that are ready: the first one, and as long again for the others.

    An actor that the cluster has no room for now joins later. Raises EngineError as soon as an engine says that it
    cannot start, or where all died of starting.
    """
    began = time.monotonic()
    calls = [asyncio.ensure_future(called(actor.ready.remote())) for actor in actors]
    telling = asyncio.create_task(_say(calls, why_waiting))
    try:
        await _ready(calls, asyncio.FIRST_COMPLETED, None)
        await _ready(calls, asyncio.ALL_COMPLETED, max(GRACE, time.monotonic() - began))
        well = {which: call.result() for which, call in enumerate(calls) if call.done() and not call.exception()}
        if len(well) < len(calls):
            log.warning("%d of %d engines serve; the others join later: %s", len(well), len(calls), why_waiting())
        return well
    finally:
        telling.cancel()
        for call in calls:
            call.cancel()


async def _ready(calls: Sequence[asyncio.Future[EngineInfo]], until: str, timeout: float | None) -> None:
    """Wait for the first call of `ready` that comes back well, or for all of them."""
    from ray.exceptions import RayActorError

    pending = {call for call in calls if not call.done()}
    while pending:
        done, pending = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for call in done:
            error = call.exception()
            if error is not None and not isinstance(error, RayActorError):
                raise error
        well = any(call.done() and not call.exception() for call in calls)
        if not done or (well and until == asyncio.FIRST_COMPLETED):
            return
    if all(call.exception() for call in calls):
        raise EngineError(
            "Every engine actor died while it was starting.",
            remedy="Look at the cluster's logs; most often it is memory: lower --actors or engine.kv_cache_gib.",
        )


async def _say(calls: Sequence[asyncio.Future[Any]], why_waiting: Callable[[], str]) -> None:
    while True:
        await asyncio.sleep(SAY_EVERY)
        log.warning("%d engines are not ready yet: %s", sum(not call.done() for call in calls), why_waiting())
