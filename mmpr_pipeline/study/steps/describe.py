"""Hallucination, exactly: the objects that descriptions of generated pictures name and that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mmpr_pipeline.core.records import Question, Rollout
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.rollouts.prompts import prompt_for
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed
from mmpr_pipeline.sources.generated.describe import Scene, hallucinated, missed, named_objects
from mmpr_pipeline.sources.generated.scenes import scene_of
from mmpr_pipeline.sources.source import open_source

IN_FLIGHT = 128


@dataclass(frozen=True)
class Described:
    """The descriptions of one picture, summed up: objects named, of these not in the picture; in it, of these missed.

    `responses` counts descriptions, `clean` those that name nothing that is not there.
    """

    question_id: str
    named: int
    false: int
    present: int
    missed: int
    responses: int
    clean: int

    @property
    def rate(self) -> float:
        """Share of the named objects that are not in the picture; 0 where none is named."""
        return self.false / max(1, self.named)


def score_descriptions(question: Question, texts: Sequence[str]) -> Described:
    """What the descriptions of a generated picture say of it. Raises SourceError for another question's id."""
    scene = scene_of(question.source_id)
    assert isinstance(scene, Scene), question.source_id
    false = [len(hallucinated(text, scene)) for text in texts]
    return Described(
        question_id=question.question_id,
        named=sum(len(named_objects(text)) for text in texts),
        false=sum(false),
        present=len(scene.names()) * len(texts),
        missed=sum(len(missed(text, scene)) for text in texts),
        responses=len(texts),
        clean=sum(count == 0 for count in false),
    )


async def describe_all(
    source: str, engine: Engine, *, limit: int, samples: int, max_tokens: int, seed: int
) -> list[Described]:
    """Descriptions at T=1 of the first `limit` pictures of a declaration of `nano_describe`, summed up."""
    opened = open_source(source)
    index = opened.index(limit)
    questions = [item for item in opened.read(index, 0, index.rows) if isinstance(item, Question)]
    decoding = Decoding(temperature=1.0, max_tokens=max_tokens)
    gate = asyncio.Semaphore(IN_FLIGHT)
    responses = await asyncio.gather(*(sample_description(q, engine, gate, samples, decoding, seed) for q in questions))
    return [score_descriptions(q, [r.text for r in each]) for q, each in zip(questions, responses, strict=True)]


async def sample_description(
    question: Question, engine: Engine, gate: asyncio.Semaphore, samples: int, decoding: Decoding, seed: int
) -> list[Rollout]:
    """Descriptions of a picture, in the words in which a build asks for them."""
    turn = prompt_for(question, "cot-final")  # an open-ended question takes its own template
    request = SampleRequest(
        question=question,
        prompt=turn.text,
        prompt_version=turn.version,
        n=samples,
        seed=sampling_seed(seed, question.question_id, 0),
        decoding=decoding,
    )
    async with gate:
        return await engine.sample(request)
