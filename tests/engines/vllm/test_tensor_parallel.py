"""The processes of a tensor-parallel engine: however their actor ends, none of them lives on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.chaos.phases import all_gone, descendants, parents, pid_of, until
from tests.cluster.sessions import local_ray
from tests.engines.contract import ask, seen_question
from tests.packages import need

need("vllm")
# Of 16 endings, which `python -m tests.chaos.phases` goes through.
pytestmark = [pytest.mark.slow, pytest.mark.campaign, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def two_ranks(**fields: Any) -> EngineSettings:
    return EngineSettings(name="vllm", tensor_parallel=2, kv_cache_gib=0.25, **fields)


def actor_of(settings: EngineSettings) -> Any:
    import ray

    from mmpr_pipeline.engines.actors.actor import EngineActor

    options: Any = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": 100}
    return (
        ray.remote(EngineActor).options(**options, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}).remote(settings)
    )


@pytest.mark.usefixtures("cluster")
async def test_a_kill_while_loading_leaves_no_process() -> None:
    actor = actor_of(two_ranks())
    pid = await pid_of(actor)
    loading = actor.ready.remote()
    # The guardian, and both workers, which load for seconds.
    children = await until(lambda: found if len(found := descendants(pid)) >= 3 else None, 200)
    assert children, "no process of the engine was seen"
    os.kill(pid, signal.SIGKILL)
    assert await all_gone(children | {pid})
    with pytest.raises(Exception, match="died"):
        await loading


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("how", ["killed", "killed while its workers hang", "hung"])
async def test_a_serving_engine_that_ends_leaves_no_process(how: str) -> None:
    """Workers that hang in native code are stood in for by stopped ones, which no polite signal reaches either."""
    actor = actor_of(two_ranks(stall_seconds=8 if how == "hung" else 600))
    pid = await pid_of(actor)
    await actor.ready.remote()
    children = descendants(pid)
    assert len(children) >= 3
    serving = actor.serve.remote(ask(seen_question(), n=8, decoding=Decoding(max_tokens=800)))
    await asyncio.sleep(0.5)
    if how != "killed":
        for child in (child for child in children if "killpg" not in cmdline(child)):
            os.kill(child, signal.SIGSTOP)
    if how == "hung":
        assert await until(lambda: pid not in parents(), 30), "the heartbeat ends it"
    else:
        os.kill(pid, signal.SIGKILL)
    assert await all_gone(children | {pid})
    with pytest.raises(Exception, match="died"):
        await serving
