"""Faults of the test Hub, switched on one by one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Fault:
    """The next `times` requests that match `where` (a pattern over `METHOD /path`) go wrong.

    With a `status` the request is answered with it; without one the connection is cut. `served`: the request is
    carried out first, and only its answer is lost. `before` is called at that moment, to change something meanwhile.
    """

    where: str
    status: int | None = None
    times: int = 1
    skip: int = 0
    """So many matching requests are left alone first."""
    served: bool = False
    body: str = "a fault"
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None
    only_before: bool = False
    """Nothing goes wrong but `before`."""


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    @property
    def left(self) -> int:
        """Faults that have not come about."""
        with self._lock:
            return sum(fault.times > 0 for fault in self._faults)

    def next(self, request: str) -> Fault | None:
        """The fault of this request, if it has one."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.where, request):
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None
