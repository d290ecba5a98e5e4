"""A gate that many may pass together, or one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """Shared passage, until someone asks to be alone: then newcomers wait until that one has gone."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone_waiting = 0
        self._alone = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Pass with others."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not self._alone_waiting)
            self._inside += 1
        try:
            yield
        finally:
            await self._leave()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Pass when nobody else is inside, and keep everybody out."""
        async with self._changed:
            self._alone_waiting += 1
            try:
                await self._changed.wait_for(lambda: not self._alone and not self._inside)
            finally:
                self._alone_waiting -= 1
                self._changed.notify_all()
            self._alone, self._inside = True, 1
        try:
            yield
        finally:
            self._alone = False
            await self._leave()

    async def _leave(self) -> None:
        async with self._changed:
            self._inside -= 1
            self._changed.notify_all()
