"""What a pool and its actors say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.actors.routing import Load
from mmpr_pipeline.engines.engine import ContinueRequest, SampleRequest

Request = SampleRequest | ContinueRequest


Answer = list[Rollout] | Rollout


@dataclass(frozen=True)
class Served:
    """An answer, and what its engine has left to do for all workers that share it."""

    answer: Answer
    outstanding: Load
