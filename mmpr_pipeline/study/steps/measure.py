"""What a model of a study is asked: all of it by one engine, which is started once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.storage import open_store

COT, SAMPLED, DIRECT, DESCRIBE = "cot", "cot_sampled", "direct", "describe"
"""What a measurement writes: greedy chain of thought, the same at T=1, greedy answers only, descriptions at T=1."""


def measure_study(settings: dict[str, Any]) -> dict[str, Any]:
    """Ask everything that has not been asked yet; nothing is to be told of it beside what was written."""
    asyncio.run(_measure(settings))
    return {}


async def _measure(settings: dict[str, Any]) -> None:
    engine = await start_engines(EngineSettings.model_validate(settings["engine"]))
    try:
        from mmpr_pipeline.evaluation.run import run_eval_on
        from mmpr_pipeline.evaluation.settings import EvalConfig

        out, sources = Path(settings["out"]), [each for each in settings["sources"] if not _open_ended(each)]
        ways: dict[str, dict[str, Any]] = {
            COT: {"mode": "cot"},
            SAMPLED: {"mode": "cot", "samples": settings["samples"], "temperature": 1.0},
            DIRECT: {"mode": "direct"},
        }
        for name, way in ways.items():
            if sources and not (out / name / "results.json").is_file():
                shared = {
                    "sources": sources,
                    "engine": settings["engine"],
                    "limit": settings["questions"]["each"],
                    "max_tokens": settings["max_tokens"],
                    "resamples": settings["resamples"],
                    "out": str(out / name),
                }
                await run_eval_on(engine, EvalConfig.model_validate({**shared, **way}))
        from mmpr_pipeline.study.steps.describe import describe_all

        for source in filter(_open_ended, settings["sources"]):
            found = await describe_all(
                source,
                engine,
                limit=settings["questions"]["each"],
                samples=settings["describe_samples"],
                max_tokens=settings["max_tokens"],
                seed=0,
            )
            lines = "".join(json.dumps(asdict(each)) + "\n" for each in found)
            open_store(settings["out"]).write(f"{DESCRIBE}.jsonl", lines.encode())
    finally:
        await engine.close()


def _open_ended(source: str) -> bool:
    return Path(source).stem == "nano_describe"
