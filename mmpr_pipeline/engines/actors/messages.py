"""What a pool and its actors say to each other, and how a pool calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.actors.routing import ExpectedWork
from mmpr_pipeline.engines.engine import ContinueRequest, SampleRequest

Request = SampleRequest | ContinueRequest

Answer = list[Rollout] | Rollout

Cause = Literal["out_of_memory", "failed", "died", "not_loaded"]
"""Why an engine does not answer: two that its process says before it ends, one that nobody says, and one that is no
death: the actor was started again and has no engine yet."""


@dataclass(frozen=True)
class Served:
    """An answer, and what its engine has left to do for all workers that share it."""

    answer: Answer
    outstanding: ExpectedWork


class EngineLost(Exception):
    """This actor's engine does not answer the request; nothing is wrong with the request as far as is known."""

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = cause
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        return (EngineLost, (self.cause, self.detail))


def cause_of(error: BaseException) -> Cause:
    """Whether an engine's failure, or what it came from, was a lack of memory."""
    seen: BaseException | None = error
    while seen is not None:
        text = f"{type(seen).__name__} {seen}".lower()
        if isinstance(seen, MemoryError) or "out of memory" in text or "outofmemory" in text:
            return "out_of_memory"
        seen = seen.__cause__
    return "failed"


async def called(reference: Any) -> Any:
    """The result of a call. Raises the actor's own exception, or Ray's RayActorError where the actor is gone."""
    from ray.exceptions import RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
