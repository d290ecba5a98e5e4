"""Putting questions to a model and judging its responses, by the engines and the checker of the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.core.errors import ConfigError, ItemRejected
from mmpr_pipeline.core.records import Question, Reject, Rollout
from mmpr_pipeline.core.verdict import Verdict
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import actor_count
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.rollouts.prompts import prompt_for
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed, unusable_verdict
from mmpr_pipeline.sources.declaration.catalog import expand
from mmpr_pipeline.sources.source import open_source


@dataclass(frozen=True)
class Answered:
    """One question with a model's responses and their verdicts; or the reason why it could not be asked."""

    question: Question
    responses: tuple[Rollout, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    reason: str | None = None

    @property
    def score(self) -> float:
        """Share of the responses that are correct; a question that could not be asked is not answered right."""
        return sum(v.outcome == "correct" for v in self.verdicts) / max(1, len(self.verdicts))


def questions_of(config: EvalConfig) -> tuple[list[Question], list[Reject]]:
    """The questions with an answer, in order of sources, and what could not be read.

    Raises ConfigError where no question has an answer: accuracy is of nothing then.
    """
    found: list[Question] = []
    rejects: list[Reject] = []
    for name in expand(config.sources):
        source = open_source(name, config.data_root)
        limit = None if config.limit is None else config.limit + config.skip
        index = source.index(limit)
        for item in source.read(index, min(config.skip, index.rows), index.rows):
            if isinstance(item, Reject):
                rejects.append(item)
            elif item.kind != "none":
                found.append(item)
    if not found:
        raise ConfigError(
            f"No question of {', '.join(config.sources)} has an answer to be judged by.",
            remedy="Evaluate on sources with answers (`mmpr sources`); open-ended ones have none.",
        )
    return found, rejects


def ray_for(config: EvalConfig, settings: EngineSettings) -> AbstractContextManager[object]:
    """A session of Ray where the engines are actors; else nothing."""
    if not actor_count(settings):
        return nullcontext()
    from mmpr_pipeline.cluster.session import ray_session

    return ray_session(config.address)


async def ask_all(
    questions: Iterable[Question], engine: Engine, config: EvalConfig, done: Callable[[int], None]
) -> list[Answered]:
    """Every question put to the engine, `in_flight` at once; `done` is called with the number answered so far."""
    gate, finished = asyncio.Semaphore(config.in_flight), 0

    async def one(question: Question) -> Answered:
        nonlocal finished
        async with gate:
            answered = await ask(question, engine, config)
        finished += 1
        done(finished)
        return answered

    return list(await asyncio.gather(*(one(question) for question in questions)))


async def ask(question: Question, engine: Engine, config: EvalConfig) -> Answered:
    """One question put to the engine, each response judged. A response, or thinking, that did not end has no answer."""
    turn = prompt_for(question, config.asked_in, config.prompt_language)
    request = SampleRequest(
        question=question,
        prompt=turn.text,
        prompt_version=turn.version,
        n=config.samples,
        seed=sampling_seed(config.seed, question.question_id, 0),
        decoding=Decoding(temperature=config.temperature, max_tokens=config.max_tokens),
    )
    try:
        responses = await engine.sample(request)
    except ItemRejected as reject:
        return Answered(question, reason=reject.reason)
    verdicts = await asyncio.to_thread(lambda: [verdict_on(question, response) for response in responses])
    return Answered(question, tuple(responses), tuple(verdicts))


def verdict_on(question: Question, response: Rollout) -> Verdict:
    """The checker's verdict, and no other than a build would give."""
    return unusable_verdict(response) or check_question(question, response.text)
