"""Evaluates benchmarks in a process of its own, as the Hub's address is read when its client is imported.

`python -m tests.evaluation.hub_client JOBS.json`: each job holds the settings, and the replies to the rows in order, by
model. Prints the results of all jobs as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.evaluation.running import run
from mmpr_pipeline.evaluation.settings import EvalConfig


class Told:
    """Says to the n-th row of a source what is written down for it."""

    can_continue = False

    def __init__(self, model: str, replies: list[str]) -> None:
        self.info = EngineInfo(engine="told", model=model, context=None, can_continue=False)
        self._replies = replies
        self._numbers: dict[str, int] = {}

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        question = request.question
        number = self._numbers.setdefault(question.source_id, len(self._numbers))
        text = self._replies[number]
        await asyncio.sleep(0)
        return [
            Rollout(
                question_id=question.question_id,
                round=0,
                index=i,
                seed=request.seed + i,
                text=text.replace("{prompt}", request.prompt),
                tokens=3,
                finish_reason="stop",
                model=self.info.model,
                prompt_version=request.prompt_version,
            )
            for i in range(request.n)
        ]

    async def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None:
        pass


def main() -> None:
    """See above."""
    real = run.start_engines
    answers = []
    for job in json.loads(Path(sys.argv[1]).read_text("utf-8")):

        async def start(settings: EngineSettings, tiles: Iterable[int] = (), replies: Any = job["replies"]) -> Any:
            return (
                await real(settings, tiles)
                if settings.name == "openai"
                else Told(settings.model, replies[settings.model])
            )

        run.start_engines = start
        config = EvalConfig.model_validate(job["config"])
        said: list[str] = []
        found = run.run_benchmarks(config, notify=said.append)
        if config.out:
            run.write_tables(found, config.out)
        answers.append({"results": found, "said": said})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
