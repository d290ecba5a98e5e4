"""The damage campaign in short (`make chaos` is the long form): the same bytes, or a word of what is wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.damage import FAILURES, campaign


@pytest.mark.timeout(300)
def test_damage_is_made_good_or_told() -> None:
    results = campaign(first=1, attacks=80, seconds=250)
    failed = [result for result in results if result["outcome"] in FAILURES]
    assert not failed
    outcomes = Counter(result["outcome"] for result in results)
    assert all(outcomes[name] > 5 for name in ("same", "named", "found")), outcomes
