"""From two rollouts of a question to a PreferencePair, and the seeded order in which rollouts are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question, content_id


def seeded_order(rollouts: Iterable[CheckedRollout], seed: int, role: str) -> list[CheckedRollout]:
    """Rollouts of distinct text in an order that depends on nothing but seed, role, question id and index.

    Of rollouts with the same text the first stays. The order is by sha256, so it is the same on every machine and
    Python version, and says nothing about length or content.
    """
    distinct: dict[str, CheckedRollout] = {}
    for rollout in rollouts:
        distinct.setdefault(rollout.text.strip(), rollout)
    ranks = {
        text: hashlib.sha256(f"{seed}/{role}/{rollout.question_id}/{rollout.index}".encode()).digest()
        for text, rollout in distinct.items()
    }
    return [distinct[text] for text in sorted(distinct, key=ranks.__getitem__)]


def make_pair(
    question: Question, prompt: str, chosen: CheckedRollout, rejected: CheckedRollout, strategy: str
) -> PreferencePair:
    """The pair with its full provenance."""
    return PreferencePair(
        pair_id=content_id(question.question_id, strategy, chosen.text, rejected.text),
        question_id=question.question_id,
        source=question.source,
        source_id=question.source_id,
        strategy=strategy,
        question=question.text,
        prompt=prompt,
        images=tuple(image.sha256 for image in question.images),
        chosen=chosen.text,
        rejected=rejected.text,
        answer=question.answer,
        chosen_answer=chosen.extracted,
        rejected_answer=rejected.extracted,
        chosen_tokens=chosen.tokens,
        rejected_tokens=rejected.tokens,
        prompt_tokens=chosen.prompt_tokens,
        chosen_index=chosen.index,
        rejected_index=rejected.index,
        chosen_rule=chosen.rule or "",
        rejected_rule=rejected.rule or "",
        shared_chars=rejected.prefix_chars,
        kind=question.kind,
        language=question.language,
        model=chosen.model,
        rejected_model=rejected.model,
        prompt_version=chosen.prompt_version,
        checker=chosen.checker or "",
        seed=chosen.seed,
        rejected_seed=rejected.seed,
    )
