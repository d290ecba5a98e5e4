from __future__ import annotations

import asyncio

from mmpr_pipeline.engines.actors.shared_lock import SharedLock


async def test_many_pass_together_and_one_alone() -> None:
    gate, inside, seen = SharedLock(), 0, []

    async def shared() -> None:
        nonlocal inside
        async with gate.shared():
            inside += 1
            await asyncio.sleep(0.01)
            seen.append(("shared", inside))
            inside -= 1

    async def solo() -> None:
        async with gate.exclusive():
            seen.append(("alone", inside))
            await asyncio.sleep(0.03)
            seen.append(("alone", inside))

    await asyncio.gather(shared(), shared(), solo(), shared(), solo(), shared())
    assert [n for kind, n in seen if kind == "alone"] == [0, 0, 0, 0]
    assert max(n for kind, n in seen if kind == "shared") >= 2


async def test_giving_up_waiting_lets_others_pass() -> None:
    gate = SharedLock()
    async with gate.shared():
        waiting = asyncio.create_task(gate.exclusive().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(gate.shared().__aenter__(), timeout=1)
