from __future__ import annotations

import asyncio

from mmpr_pipeline.engines.actors.gate import Gate


async def test_many_pass_together_and_one_alone() -> None:
    gate, inside, seen = Gate(), 0, []

    async def shared() -> None:
        nonlocal inside
        async with gate.together():
            inside += 1
            await asyncio.sleep(0.01)
            seen.append(("shared", inside))
            inside -= 1

    async def solo() -> None:
        async with gate.alone():
            seen.append(("alone", inside))
            await asyncio.sleep(0.03)
            seen.append(("alone", inside))

    await asyncio.gather(shared(), shared(), solo(), shared(), solo(), shared())
    assert [n for kind, n in seen if kind == "alone"] == [0, 0, 0, 0]
    assert max(n for kind, n in seen if kind == "shared") >= 2


async def test_giving_up_waiting_lets_others_pass() -> None:
    gate = Gate()
    async with gate.together():
        waiting = asyncio.create_task(gate.alone().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(gate.together().__aenter__(), timeout=1)
