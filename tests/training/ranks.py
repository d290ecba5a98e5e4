"""Ranks without a launcher's start: forked from a server that has imported everything once, killed as any process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence

from tests.ports import free_port

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "tests.training.run.loop_worker",
        "torch.distributed.checkpoint.staging",
        "transformers.models.auto.processing_auto",
        "transformers.models.internvl.modeling_internvl",
        "transformers.models.qwen2.modeling_qwen2",
    ]
)


def run_ranks(
    arguments: Sequence[str], environment: Mapping[str, str], count: int = 2, seconds: float = 120
) -> list[int]:
    """`tests.training.run.loop_worker` with these arguments in `count` ranks; their exit codes, -9 for a killed one."""
    shared = {**environment, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    ranks = []
    for number in range(count):
        own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        values = {**shared, **{name: str(value) for name, value in own.items()}}
        ranks.append(SERVER.Process(target=_rank, args=(values, list(arguments)), daemon=True))
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(seconds)
    for rank in ranks:
        if rank.is_alive():
            rank.kill()
            rank.join()
    return [int(rank.exitcode or 0) for rank in ranks]


def _rank(environment: dict[str, str], arguments: list[str]) -> None:
    from tests.training.run.loop_worker import main

    os.environ.update(environment)
    main(arguments)
