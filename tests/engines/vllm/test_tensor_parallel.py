"""The processes of an engine of several ranks: however it ends, none of them lives on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.phases import end_of_an_engine
from tests.cluster.sessions import local_ray

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("phase", "way", "heard"),
    [
        ("load", "engine killed", "died"),
        ("warm-up", "worker killed", "Lost|died"),
        ("prefill", "out of memory", "out_of_memory"),
        ("decode", "hung", "died"),
    ],
)
async def test_an_engine_that_ends_leaves_no_process(phase: str, way: str, heard: str, tmp_path: Path) -> None:
    """Each phase and each way once; `python -m tests.chaos.phases` has all sixteen."""
    assert re.search(heard, await end_of_an_engine(phase, way, tmp_path))
