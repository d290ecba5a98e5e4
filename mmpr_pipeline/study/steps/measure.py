"""What a model of a study is asked: all of it by one engine, which is started once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.settings import MeasureSettings
from mmpr_pipeline.study.steps.step import StepFacts

COT: Final = "cot"
SAMPLED: Final = "cot_sampled"
DIRECT: Final = "direct"
DESCRIBE = "describe"
"""What a measurement writes: greedy chain of thought, the same at T=1, greedy answers only, descriptions at T=1."""


class MeasureStep(MeasureSettings):
    """The settings of a step that measures."""

    engine: EngineSettings
    sources: tuple[str, ...]
    out: str


def measure_study(settings: Mapping[str, object]) -> StepFacts:
    """Ask everything that has not been asked yet. The answers are written; there are no further facts to report."""
    asyncio.run(_measure(MeasureStep.model_validate(settings)))
    return {}


async def _measure(step: MeasureStep) -> None:
    engine = await start_engines(step.engine)
    try:
        from mmpr_pipeline.evaluation.run import run_eval_on
        from mmpr_pipeline.evaluation.settings import EvalConfig

        out, sources = Path(step.out), [each for each in step.sources if not _open_ended(each)]
        ways: dict[str, dict[str, object]] = {
            COT: {"mode": "cot"},
            SAMPLED: {"mode": "cot", "samples": step.samples, "temperature": 1.0},
            DIRECT: {"mode": "direct"},
        }
        for name, way in ways.items():
            if sources and not (out / name / "results.json").is_file():
                shared = {
                    "sources": sources,
                    "engine": step.engine,
                    "limit": step.questions.each,
                    "max_tokens": step.max_tokens,
                    "resamples": step.resamples,
                    "out": str(out / name),
                }
                await run_eval_on(engine, EvalConfig.model_validate({**shared, **way}))
        from mmpr_pipeline.study.steps.describe import describe_all

        for source in filter(_open_ended, step.sources):
            found = await describe_all(
                source,
                engine,
                limit=step.questions.each,
                samples=step.describe_samples,
                max_tokens=step.max_tokens,
                seed=0,
            )
            lines = "".join(json.dumps(asdict(each)) + "\n" for each in found)
            open_store(step.out).write(f"{DESCRIBE}.jsonl", lines.encode())
    finally:
        await engine.close()


def _open_ended(source: str) -> bool:
    return Path(source).stem == "nano_describe"
