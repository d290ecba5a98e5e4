"""`python -m tests.chaos.phases`: a tensor-parallel vLLM engine ends in every phase and every way; no process lives on.

The engine is real, of two ranks on the CPU backend, in a Ray actor; its workers strike in the phase that is asked for
(`tests.engines.vllm.doomed`), so that no blow depends on how fast the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.cluster.sessions import local_ray
from tests.engines.contract import ask, seen_question

CHECKOUT = Path(__file__).resolve().parents[2]
GONE_SECONDS = 10.0
LOAD_SECONDS, STALL_SECONDS = 150.0, 6.0
"""Watchdogs of an engine that hangs: longer than the way to the phase, and no longer; a busy machine takes more."""


def parents() -> dict[int, int]:
    """Every living process and its parent."""
    living = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
                if state != "Z":
                    living[int(entry.name)] = int(parent)
    return living


def descendants(of: int) -> set[int]:
    """All processes below this one."""
    tree = parents()
    below, fresh = set[int](), {of}
    while fresh:
        fresh = {pid for pid, parent in tree.items() if parent in fresh} - below
        below |= fresh
    return below


async def until(seen: Callable[[], Any], seconds: float) -> Any:
    """What is seen at last, or the empty thing that was seen until then."""
    deadline = time.monotonic() + seconds
    while not (value := seen()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return value


async def all_gone(pids: set[int]) -> bool:
    """Whether these processes end in time; those that do not are killed, for what follows."""
    gone = await until(lambda: not pids & parents().keys(), GONE_SECONDS)
    for pid in pids & parents().keys():
        os.kill(pid, signal.SIGKILL)
    return bool(gone)


def actor_of(settings: EngineSettings, **environment: str) -> Any:
    """An actor that is not started again."""
    import ray

    from mmpr_pipeline.engines.actors.actor import EngineActor

    options: Any = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": 100}
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT), **environment}
    return ray.remote(EngineActor).options(**options, runtime_env={"env_vars": variables}).remote(settings)


async def pid_of(actor: Any) -> int:
    """The actor's process."""
    born, _ = await actor.stats.remote()
    return int(born.split("-")[0])


async def end_of_an_engine(phase: str, way: str, folder: Path, load_seconds: float) -> str:
    """Seconds from the blow to the actor's end, and from there to that of all others; what its caller hears.

    AssertionError where a process lives on.
    """
    from tests.engines.vllm.doomed import DOOM

    mark = folder / f"{phase}-{way}".replace(" ", "-")
    settings = EngineSettings(
        name="vllm", tensor_parallel=2, kv_cache_gib=0.25, stall_seconds=STALL_SECONDS if way == "hung" else 600,
        load_seconds=load_seconds if way == "hung" and phase in ("load", "warm-up") else 600,
        options={"worker_cls": "tests.engines.vllm.doomed.DoomedWorker"},
    )  # fmt: skip
    actor = actor_of(settings, **{DOOM: f"{phase}:{way}:{mark}"})
    pid = await pid_of(actor)
    children = set[int]()

    async def asked() -> None:
        await actor.ready.remote(again=True)
        children.update(descendants(pid))
        await actor.serve.remote(ask(seen_question(), n=4, decoding=Decoding(max_tokens=400)))

    asking = asyncio.create_task(asked())

    def struck() -> bool:
        children.update(descendants(pid))
        return mark.exists() or asking.done()

    await until(struck, 900)
    if not mark.exists():
        early = await asyncio.gather(asking, return_exceptions=True) if asking.done() else "it is still on its way"
        raise AssertionError(f"the engine never came to {phase}: {early}")
    assert len(children) >= 3, "a guardian and two ranks"
    # Whoever hangs is ended by a watchdog, whoever is struck ends at once; from then on it is a matter of seconds.
    assert await until(lambda: pid not in parents(), 60 + load_seconds), "the actor lives on"
    ended = time.time()
    assert await all_gone(children), "processes of the engine live on"
    left = time.time() - ended
    [heard] = await asyncio.gather(asking, return_exceptions=True)
    name = type(getattr(heard, "cause", heard)).__name__
    return f"| {ended - mark.stat().st_mtime:.1f} s | {left:.1f} s | {name} |"


async def every_phase(phases: Sequence[str], load_seconds: float) -> int:
    """One line for each; 1 where a process lived on."""
    from tests.engines.vllm.doomed import WAYS

    failed = 0
    print("| phase | blow | actor ended after | nothing left after another | its caller hears |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mmpr-phases-") as folder:
        for phase in phases:
            for way in WAYS:
                try:
                    outcome = await end_of_an_engine(phase, way, Path(folder), load_seconds)
                except AssertionError as error:
                    outcome, failed = f"| FAILED: {error} |", 1
                print(f"| {phase} | {way} {outcome}", flush=True)
    return failed


def main() -> int:
    """Start Ray, and let engines end."""
    from tests.engines.vllm.doomed import PHASES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phases", nargs="*", default=PHASES, metavar="PHASE", help=f"of {', '.join(PHASES)}")
    parser.add_argument("--load-seconds", type=float, default=LOAD_SECONDS, help="of the watchdog of the load")
    given = parser.parse_args()
    with local_ray():
        return asyncio.run(every_phase(given.phases, given.load_seconds))


if __name__ == "__main__":
    sys.exit(main())
