"""Calls of an actor's methods, with what the actor raised coming out as it was raised there."""

from __future__ import annotations

from typing import Any


async def called(reference: Any) -> Any:
    """The result of a call. Raises the actor's own exception, or Ray's RayActorError where the actor is gone."""
    from ray.exceptions import RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
