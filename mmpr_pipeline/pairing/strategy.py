"""Pairing strategies: each is one file that turns a question's rollouts into pairs, behind one protocol.

Here are the protocol, the strategies by name, and what they share: the seeded order in which rollouts are taken, and
the way from two of them to a pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydantic import ValidationError

from mmpr_pipeline.checking.second_opinion import SecondOpinion
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question, content_id
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.core.settings import Settings
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.rollouts.prompts import Prompt
from mmpr_pipeline.rollouts.sampling import Marks, SamplingSettings

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Recipe:
    """What decides how a question is worked on; the same for every question of a build."""

    sampling: SamplingSettings
    pairing: PairingSettings
    seed: int
    marks: Marks = field(default_factory=dict)
    """Outcomes that people set; they stand above the checker's."""
    second: SecondOpinion | None = None
    """The verifier that is asked about doubtful and incorrect verdicts, if any."""


@dataclass(frozen=True)
class Pairs:
    """What a strategy made of one question."""

    pairs: Sequence[PreferencePair] = ()
    reason: str | None = None
    """Why it made none, as a short fixed name; None where the strategy does not apply to the question."""
    rollouts: Sequence[CheckedRollout] = ()
    """Rollouts that the strategy generated; they are stored with the sampled ones."""
    detail: str = ""
    """What is to be known of the question, in words; kept in its row."""
    last: bool = False
    """Whether no further strategy is to be asked: the question is not wanted."""


def options_of(recipe: Recipe, name: str, kind: type[S]) -> S:
    """The settings of a strategy, from `pairing.options`; raises ConfigError naming each that is wrong."""
    try:
        return kind.model_validate(recipe.pairing.options.get(name, {}))
    except ValidationError as error:
        lines = [f"pairing.options.{name}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n    ".join(lines), remedy="Correct these options.") from None


class Strategy(Protocol):
    """One way to make pairs. The strategies of a build are asked in order, until one makes a pair.

    One with an attribute `always = True` is asked whether or not others have made pairs.
    """

    needs_rollouts: bool
    """Whether the question must have been sampled; False where the source itself brings the responses, or where the
    strategy decides whether to sample at all."""

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """The pairs of one question. `rollouts` have verdicts; `engine` may be asked for more.

        Must depend on nothing but its arguments: a question whose shard is worked on again must come out the same.
        Raises ItemRejected where the question cannot be used at all.
        """
        ...


# ---- what strategies share


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


# ---- by name

STRATEGIES: Registry[type[Strategy]] = Registry(
    "mmpr.strategies",
    "pairing strategy",
    {
        "blind": "mmpr_pipeline.pairing.blind:BlindFilter",
        "correctness": "mmpr_pipeline.pairing.correctness:Correctness",
        "dropout_ntp": "mmpr_pipeline.pairing.dropout_ntp:DropoutNTP",
        "dropout_preset": "mmpr_pipeline.pairing.preset:DropoutPreset",
        "feedback": "mmpr_pipeline.pairing.feedback:Feedback",
        "format": "mmpr_pipeline.pairing.format:FormatPairs",
        "preset": "mmpr_pipeline.pairing.preset:Preset",
        "step": "mmpr_pipeline.pairing.step:Steps",
        "vote": "mmpr_pipeline.pairing.vote:Vote",
    },
)
