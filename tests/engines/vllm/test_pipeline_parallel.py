"""vLLM's batch queue under our stepper: two pipeline stages, a KV cache too small for all, later rounds first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.rollouts.settings import Decoding
from tests.chaos.phases import actor_of, all_gone, descendants, pid_of
from tests.engines import models
from tests.engines.contract import ask, seen_question
from tests.engines.vllm.test_tensor_parallel import cluster

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
_ = cluster
TOKENS, N, BLOCKS, MOST = 120, 8, 32, 64


@pytest.mark.usefixtures("cluster")
async def test_two_stages_step_by_the_batch_queue_and_hold_to_what_their_cache_holds(tmp_path: Path) -> None:
    """32 blocks of 32 tokens are 1,024: about eight rollouts of 120 tokens, of 32 that are asked for."""
    model = models.native(tmp_path / "tiny")
    options = {"pipeline_parallel_size": 2, "num_gpu_blocks_override": BLOCKS}
    settings = EngineSettings(
        name="vllm", model=str(model), max_model_len=512, kv_cache_gib=0.25, max_num_seqs=MOST, options=options
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
    await asyncio.sleep(0.3)
    later = asyncio.create_task(asked("q0", 2, round=1, first_index=N, seed=5000))
    answers = await asyncio.gather(*first, later)
    assert [len(answer) for answer in answers] == [N, N, N, N, 2]
    assert ended.index("q0/1") < ended.index("q3/0"), "the oldest question's next round does not wait"

    _born, stats = await actor.stats.remote()
    assert stats.steps > TOKENS
    assert stats.capacity <= 12 < MOST
    import ray

    ray.kill(actor)
    assert await all_gone(children | {pid})
