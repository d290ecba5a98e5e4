"""vLLM's batch queue under our stepper: two pipeline stages, too small a KV cache, the oldest question first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.chaos.phases import actor_of, all_gone, descendants, pid_of
from tests.cluster.sessions import local_ray
from tests.engines import models
from tests.engines.contract import ask, seen_question
from tests.packages import need

need("vllm")
# Of the campaign: a second processor minute for what test_settings_of_vllm.py shows of the engine's arguments.
pytestmark = [pytest.mark.slow, pytest.mark.campaign, pytest.mark.timeout(900)]
TOKENS, N, BLOCKS, MOST = 40, 6, 16, 64


@pytest.fixture
def cluster() -> Iterator[None]:
    with local_ray():
        yield


@pytest.mark.usefixtures("cluster")
async def test_two_stages_step_by_the_batch_queue_and_hold_to_what_their_cache_holds(tmp_path: Path) -> None:
    """16 blocks of 32 tokens are 512: a dozen rollouts of 40 tokens, of 26 that are asked for."""
    model = models.native(tmp_path / "tiny")
    options = {"pipeline_parallel_size": 2, "num_gpu_blocks_override": BLOCKS}
    settings = EngineSettings(
        name="vllm", model=str(model), max_model_len=256, kv_cache_gib=0.25, max_num_seqs=MOST, options=options
    )
    actor = actor_of(settings)
    pid = await pid_of(actor)
    info = await actor.ready.remote()
    assert info.kv_tokens == BLOCKS * 32
    children = descendants(pid)
    assert len(children) >= 3, "a guardian and two stages"

    ended: list[str] = []

    async def asked(name: str, n: int, **fields: Any) -> Any:
        question = seen_question(name, images=())
        request = ask(question, n=n, decoding=Decoding(max_tokens=TOKENS), **fields)
        answer = (await actor.serve.remote(request)).answer
        ended.append(f"{name}/{fields.get('round', 0)}")
        return answer

    first = [asyncio.create_task(asked(f"q{i}", N)) for i in range(4)]
    later = asyncio.create_task(asked("q0", 2, round=1, first_index=N, seed=5000))
    answers = await asyncio.gather(*first, later)
    assert [len(answer) for answer in answers] == [N, N, N, N, 2]
    assert ended.index("q0/1") < ended.index("q3/0"), "the oldest question's next round does not wait"

    _born, stats = await actor.stats.remote()
    assert stats.steps > TOKENS
    assert stats.capacity <= BLOCKS * 32 / TOKENS
    import ray

    ray.kill(actor)
    assert await all_gone(children | {pid})
