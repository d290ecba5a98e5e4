"""What decides how a question's rollouts become pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmpr_pipeline.core.records import Outcome
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.rollouts.settings import SamplingSettings


@dataclass(frozen=True)
class Recipe:
    """What decides how a question is worked on; the same for every question of a build."""

    sampling: SamplingSettings
    pairing: PairingSettings
    seed: int
    marks: Mapping[tuple[str, int], Outcome] = field(default_factory=dict)
    """Outcomes set by hand, by question id and rollout index; they stand above the checker's."""
    given: bool = False
    """Whether the sources bring the pairs: the first response is preferred to the second, whatever the checker says."""
