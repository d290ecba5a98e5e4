"""Feedback by a labeller that never errs: claims about generated pictures are checked against the world behind them.

It is the most that feedback can get from asking a model about claims. Answers, claims, scores and the choice of pairs
are those of the strategy `feedback`; each claim counts as one token, as the yes or no that a model would say.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmpr_pipeline.core.records import CheckedRollout, Question, content_id
from mmpr_pipeline.core.settings import Settings
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.pairing.dropout_ntp import parents_to_cut
from mmpr_pipeline.pairing.feedback import ScoredAnswer, pick, split_claims
from mmpr_pipeline.rollouts.sampling import Decoding, check_rollouts
from mmpr_pipeline.sources.generated.describe import PLACES, Scene, named_objects
from mmpr_pipeline.sources.generated.scenes import scene_of
from mmpr_pipeline.sources.source import open_source
from mmpr_pipeline.study.steps.describe import IN_FLIGHT, sample_description
from mmpr_pipeline.study.steps.same_chosen import PairRow, pair_row, write_pair_rows
from mmpr_pipeline.study.steps.step import HandedOver

_PLACE = re.compile(rf"at the ({'|'.join(sorted((p for row in PLACES for p in row), key=len, reverse=True))})\b")


class PairByWorldStep(Settings):
    """The settings of a step that pairs descriptions: those of `FeedbackComparison`, and where from and where to."""

    each: int
    answers: int
    pairs: int
    source: str
    engine: EngineSettings
    decoding: Decoding
    seed: int
    folder: str


def pair_by_world(settings: Mapping[str, object]) -> HandedOver:
    """Describe pictures, pair the descriptions, write the pairs as rows; gives `pairs` and `generated_tokens`."""
    return asyncio.run(_pair(PairByWorldStep.model_validate(settings)))


async def _pair(step: PairByWorldStep) -> HandedOver:
    source = open_source(step.source)
    index = source.index(step.each)
    questions = [item for item in source.read(index, 0, index.rows) if isinstance(item, Question)]
    engine = await start_engines(step.engine)
    try:
        gate = asyncio.Semaphore(IN_FLIGHT)
        sampled = await asyncio.gather(
            *(sample_description(q, engine, gate, step.answers, step.decoding, step.seed) for q in questions)
        )
        answered = [
            check_rollouts(question, rollouts, {}) for question, rollouts in zip(questions, sampled, strict=True)
        ]
    finally:
        await engine.close()
    rows: list[PairRow] = []
    tokens = 0
    for question, answers in zip(questions, answered, strict=True):
        tokens += sum(answer.tokens for answer in answers)
        usable = parents_to_cut(question, answers, most=len(answers), seed=step.seed)
        tokens += len({claim for answer in usable for claim in split_claims(answer.text)})
        for better, worse in pick(scored_by_world(question, usable), 1, step.pairs):
            chosen, rejected = better.rollout, worse.rollout
            pair_id = content_id(question.question_id, chosen.text, rejected.text)
            rows.append(
                pair_row(pair_id, question.text, list(question.images), chosen.text, rejected.text, chosen.tokens)
            )
    images = {f"{image.sha256}.{image.format}": image.data for q in questions for image in q.images}
    write_pair_rows(Path(step.folder), rows, images)
    return {"pairs": len(rows), "generated_tokens": tokens}


def scored_by_world(question: Question, answers: Sequence[CheckedRollout]) -> list[ScoredAnswer]:
    """Answers about a generated picture, and how many of their claims are false."""
    scene = scene_of(question.source_id)
    assert isinstance(scene, Scene), question.source_id
    claims = [split_claims(answer.text) for answer in answers]
    return [
        ScoredAnswer(answer, len(own), sum(not is_true(claim, scene) for claim in own))
        for answer, own in zip(answers, claims, strict=True)
    ]


def is_true(claim: str, scene: Scene) -> bool:
    """Whether every object that a claim names is in the picture, at the place that it states; true of no object."""
    shown = {(thing.name, place) for thing, place in zip(scene.things, scene.places, strict=True)}
    places = set(_PLACE.findall(claim.lower()))
    if not places:
        return scene.names() >= set(named_objects(claim))
    return all(any((name, place) in shown for place in places) for name in named_objects(claim))
