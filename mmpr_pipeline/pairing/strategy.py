"""Pairing strategies: each is one file that turns a question's rollouts into pairs, behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydantic import ValidationError

from mmpr_pipeline.checking.second_opinion import SecondOpinion
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question
from mmpr_pipeline.core.settings import Settings
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.rollouts.prompts import Prompt
from mmpr_pipeline.rollouts.settings import SamplingSettings
from mmpr_pipeline.rollouts.verdicts import Marks

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
