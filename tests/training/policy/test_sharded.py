from __future__ import annotations

import pytest

from tests.training.ranks import said_by_ranks


@pytest.mark.slow
@pytest.mark.campaign
def test_two_sharded_ranks_give_the_gradients_of_one() -> None:
    """Plain, with layers computed anew, and with a gloo whose threads are starved."""
    said_by_ranks([], "tests.training.policy.sharded_worker")
