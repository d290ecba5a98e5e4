"""Finished outputs of the real build without Ray: shards worked on one after the other, by the scripted engine or by
recorded rollouts."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from mmpr_pipeline.engines.recorded import ReplayEngine
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.output import claim_output, finish
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.storage import open_store
from tests.pipeline.made import make_source


def build(out: Path, sources: list[str], shards: int = 2, rollouts: Path | None = None, **settings: Any) -> Path:
    """A finished output at `out`, which is returned."""
    engine: dict[str, Any] = {"engine.name": "scripted"}
    if rollouts:
        engine = {"engine.name": "replay", "engine.rollouts": str(rollouts)}
    plan = make_build_plan(
        load_config(None, {"sources": sources, "out": str(out), "shards": shards, **engine, **settings})
    )
    store = open_store(out)
    claim_output(store, plan)

    async def work() -> None:
        worker = ReplayEngine(rollouts) if rollouts else ScriptedEngine(parse_script({}))
        for shard in range(shards):
            await work_shard(plan, shard, worker, lambda tally: None)
        await worker.close()

    asyncio.run(work())
    finish(store, plan, {"seconds": 0.0, "shards": shards})
    return out


def build_made(folder: Path, *, questions: int = 24, open_ended: int = 6, shards: int = 2, **settings: Any) -> Path:
    """An output over made-up number questions and open-ended ones, whose seven pictures are hard to compress."""
    declaration = make_source(folder / "source", questions=questions, open_ended=open_ended)
    for i in range(7):
        (folder / "source" / f"{i}.png").write_bytes(noise(i))
    return build(folder / "out", [str(declaration)], shards, **settings)


def noise(seed: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of noise, as PNG."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()
