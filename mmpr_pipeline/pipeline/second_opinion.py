"""The second opinion on a question's rollouts: one request for each distinct answer, through the build's engine.

The requests go to the engine with the shard's journal like all others, so that a vote is never asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mmpr_pipeline.checking.second_opinion import VERSION, SecondOpinion, is_asked, settled, verifier_prompt, vote_of
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question, Rollout, content_id
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.engines.journalled import JournalledEngine, WrappedEngine
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed
from mmpr_pipeline.storage.journal import Journal

Votes = tuple[bool | None, ...]


async def reconsidered(
    question: Question, rollouts: Sequence[CheckedRollout], engine: Engine, rules: SecondOpinion, seed: int
) -> list[CheckedRollout]:
    """The rollouts with the verdicts that stand after the verifier has voted on the doubtful and incorrect ones."""
    asked = [r for r in rollouts if is_asked(question.kind, r.outcome, r.rule, r.extracted)]
    answers = list(dict.fromkeys(str(rollout.extracted) for rollout in asked))
    found = await asyncio.gather(*(_votes(question, answer, engine, rules, seed) for answer in answers))
    votes = dict(zip(answers, found, strict=True))
    return [_with_votes(r, votes[str(r.extracted)], rules) if r in asked else r for r in rollouts]


def _with_votes(rollout: CheckedRollout, votes: Votes, rules: SecondOpinion) -> CheckedRollout:
    changed = settled(rollout.outcome, votes, rules.agreement) if rollout.outcome else None
    if changed is None:
        return rollout
    checker = f"{rollout.checker} + {VERSION[rules.style]}"
    return rollout.model_copy(update={"outcome": changed[0], "rule": changed[1], "checker": checker})


async def _votes(question: Question, answer: str, engine: Engine, rules: SecondOpinion, seed: int) -> Votes:
    golds = dict.fromkeys((question.answer or "", *question.answers[:4]))
    prompt = verifier_prompt(rules.style, question.text, " or ".join(golds), answer)
    name = content_id("second", question.question_id, prompt)
    asks = Question(question_id=name, source=question.source, source_id=question.source_id, text=prompt, kind="none")
    request = SampleRequest(
        question=asks,
        prompt=prompt,
        prompt_version=VERSION[rules.style],
        n=rules.votes,
        seed=sampling_seed(seed, name, 0),
        decoding=Decoding(temperature=0.0 if rules.votes == 1 else 1.0, max_tokens=rules.max_tokens),
    )
    try:
        return tuple(vote_of(rules.style, rollout.text) for rollout in await engine.sample(request))
    except ItemRejected:
        return ()


class WithVerifier(WrappedEngine):
    """An engine whose second opinions come from another one. Both stay open; the verifier's counts are its server's."""

    def __init__(self, engine: Engine, verifier: Engine) -> None:
        super().__init__(engine)
        self._verifier = verifier

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """Rollouts of the engine, or votes of the verifier."""
        asks = request.prompt_version in VERSION.values()
        return await (self._verifier if asks else self._engine).sample(request)


class JournalledWithVerifier(JournalledEngine):
    """The journal of one shard over an engine and its verifier; closing it closes the verifier's connections too."""

    def __init__(self, engine: Engine, verifier: Engine, journal: Journal) -> None:
        super().__init__(WithVerifier(engine, verifier), journal)
        self._verifier = verifier

    async def close(self) -> None:
        """Close the journal's segment and the verifier."""
        await super().close()
        await self._verifier.close()
