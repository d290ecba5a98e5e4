"""Work that waits for the network, done a little ahead of the one who asks for its results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def run_ahead(work: Iterator[Callable[[], Item]], threads: int = 8, most: int = 32) -> Iterator[Item]:
    """The results of the work in its order, with up to `most` of it under way: it waits for the network."""
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in work:
                waiting.append(pool.submit(item))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
