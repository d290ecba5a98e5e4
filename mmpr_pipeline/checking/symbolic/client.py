"""Symbolic equality by sympy, in a child process that is killed when it takes too long.

The child runs `sympy_worker.py` and is given trees of our own parser as JSON over a pipe: no text of a model reaches
sympy, and nothing is pickled. It is capped in memory, kept between questions, shared by all threads under a lock, and
started afresh after a fork or a kill. No signal is used, so it works in any thread and any Ray worker.
"""

from __future__ import annotations

import json
import math
import os
import select
import struct
import subprocess
import sys
import threading
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmpr_pipeline.checking.values.expression import Decision, Expr, to_wire

PATIENCE_S = 4.0  # Processor seconds after which the child gives up; its budget of calls ends most work long before.
LIMIT_S = 6.0  # Processor seconds after which the parent kills a child that does not heed its own limit.
WALL_S = 120.0  # Seconds of the clock after which it is killed whatever it has used, on the busiest machine.
START_LIMIT_S = 180.0  # Importing sympy takes about half a second, a hundred times that on the busiest machine.
MEMORY_MB = 448  # Address space of the child.
MAX_REPLY_BYTES = 65_536
_LOOK_EVERY_MS = 200
_WORKER = Path(__file__).with_name("sympy_worker.py")


@cache
def _installed() -> bool:
    """Whether sympy is here: it is an extra, `pip install 'mmpr-pipeline[math]'`."""
    return find_spec("sympy") is not None


class _Gone(Exception):
    """The worker did not answer in time, or ended."""


class SymbolicWorker:
    """One child process, started on first need; `equal` is safe to call from many threads."""

    def __init__(self, limit_s: float = LIMIT_S, patience_s: float = PATIENCE_S, wall_s: float = WALL_S) -> None:
        """`limit_s` and `patience_s` are processor seconds, `wall_s` seconds of the clock."""
        self.limit_s, self.patience_s, self.wall_s = limit_s, patience_s, wall_s
        self.restarts = 0
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def start(self) -> None:
        """Start the child without waiting for it, so that a later comparison finds it ready."""
        if _installed() and self._process is None and self._lock.acquire(blocking=False):
            try:
                self._spawn()
            except OSError:
                self._process = None
            finally:
                self._lock.release()

    def equal(self, left: Expr, right: Expr) -> Decision:
        """Whether two scalar trees are equal; (None, "timeout") when the child had to be killed."""
        if not _installed():
            return None, "sympy_not_installed"
        request = json.dumps([to_wire(left), to_wire(right)], separators=(",", ":")).encode()
        with self._lock:
            try:
                self._spawn()
                if not self._ready:
                    self._receive(time.monotonic() + START_LIMIT_S)
                    self._ready = True
            except (_Gone, OSError):
                self._kill()
                return None, "symbolic_worker_did_not_start"
            try:
                process = self._process
                if process is None or process.stdin is None:
                    raise _Gone
                data = memoryview(struct.pack(">I", len(request)) + request)
                while data:
                    data = data[process.stdin.write(data) :]
                reply = json.loads(self._receive(time.monotonic() + self.wall_s, self._used() + self.limit_s))
            except (_Gone, OSError, ValueError):
                self._kill()
                # The next worker starts now, so that the next comparison need not wait for it.
                try:
                    self._spawn()
                except OSError:
                    self._process = None
                return None, "timeout"
        verdict, rule = reply
        return (verdict if isinstance(verdict, bool) else None), str(rule)[:60]

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._kill()

    def forget(self) -> None:
        """In a forked child: leave the parent's worker alone, and have one of our own when needed."""
        self._lock = threading.Lock()
        process, self._process, self._ready = self._process, None, False
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.returncode = 0  # Not our child: it must not be waited for.

    def _spawn(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.restarts += 1
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        # sympy's order of work, and so its cost, follows the hashes and the kind of integers that is installed.
        environment |= {"PYTHONHASHSEED": "0", "SYMPY_GROUND_TYPES": "python", "MPMATH_NOGMPY": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(MEMORY_MB), str(self.patience_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
        )
        self._ready = False

    def _receive(self, deadline: float, most_used: float = math.inf) -> bytes:
        (size,) = struct.unpack(">I", self._read(4, deadline, most_used))
        if size > MAX_REPLY_BYTES:
            raise _Gone
        return self._read(size, deadline, most_used)

    def _used(self) -> float:
        """Processor seconds that the child has used; 0 where the system does not tell."""
        try:
            stat = Path(f"/proc/{self._process.pid if self._process else 0}/stat").read_bytes()
        except OSError:
            return 0.0
        user, system = stat.rpartition(b")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _read(self, count: int, deadline: float, most_used: float) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            raise _Gone
        data = b""
        while len(data) < count:
            poller = select.poll()  # Not select(): a Ray worker may have more than 1,024 open files.
            poller.register(process.stdout, select.POLLIN | select.POLLHUP)
            while not poller.poll(_LOOK_EVERY_MS):
                if time.monotonic() > deadline or self._used() > most_used:
                    raise _Gone
            piece = process.stdout.read(count - len(data))
            if not piece:
                raise _Gone
            data += piece
        return data

    def _kill(self) -> None:
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


_shared = SymbolicWorker()
os.register_at_fork(after_in_child=_shared.forget)


def start_worker() -> None:
    """Start this process's worker in the background; costs milliseconds, and nothing when it runs already."""
    _shared.start()


def equal(left: Expr, right: Expr) -> Decision:
    """Whether two trees are equal, by this process's worker."""
    return _shared.equal(left, right)


def close() -> None:
    """End this process's worker; a later comparison starts another."""
    _shared.close()
