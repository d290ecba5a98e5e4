"""Proof that an engine lives, or its end.

A hung engine (a lost GPU, a deadlock in native code) answers nothing and dies of nothing. While requests are in flight
and progress is made, the heartbeat winds up a timer in C; where it is not wound up again in time, the process ends,
with a traceback of all its threads in its log, and Ray starts a fresh one. The timer needs neither this loop nor the
interpreter's lock, so an engine that blocks both is caught as well.
"""

from __future__ import annotations

import asyncio
import faulthandler
from typing import TYPE_CHECKING

from mmpr_pipeline.engines.actors.busy_timer import BusyTimer
from mmpr_pipeline.engines.engine import Engine

if TYPE_CHECKING:
    from mmpr_pipeline.engines.actors.metrics import EngineMeter

STDERR = 2
MOST_BETWEEN = 2.0
"""Most seconds between two looks."""


async def watch_progress(stall: float, busy: BusyTimer, engine: Engine, meter: EngineMeter) -> None:
    """Watch for ever: the process ends after `stall` seconds in which requests were in flight and nothing came."""
    seen = -1
    while True:
        stats = await engine.stats()
        progress = stats.requests + stats.steps
        if not busy.in_flight or progress != seen:
            seen = progress
            faulthandler.dump_traceback_later(stall, exit=True, file=STDERR)
        meter.show(stats, busy)
        await asyncio.sleep(min(MOST_BETWEEN, stall / 4))
