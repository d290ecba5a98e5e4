"""The chaos campaigns in short (`make chaos` is the long form): kill what can be killed, and compare every byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mmpr_pipeline.rollouts.prompts import counted_as
from tests.chaos.campaign import EVERY_STRATEGY, Campaign, Reference, draw_blows, make_reference
from tests.chaos.places import PLACES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory.mktemp("reference"))


def test_a_build_whose_store_fails_too_is_the_same_build(reference: Reference, tmp_path: Path) -> None:
    mark = f"{tmp_path.parent.name}-{tmp_path.name}"
    with PLACES["bucket"](tmp_path, 12, mark) as there:
        blows = draw_blows(12, ("store", "worker", "driver"))
        result = Campaign(tmp_path, reference, there, 12, mark, blows).run()
    assert result.digest == reference.digest
    assert result.blows.total() >= 2, "most blows must land"
    assert result.journalled > 0


@pytest.mark.campaign
def test_a_build_whose_engine_never_says_the_same_twice_keeps_what_was_journalled(
    reference: Reference, tmp_path: Path
) -> None:
    """As on GPUs: a rerun samples other texts, so whatever was sampled again would be seen in the output."""
    mark = f"{tmp_path.parent.name}-{tmp_path.name}"
    with PLACES["folder"](tmp_path, 21, mark) as there:
        blows = draw_blows(21, ("engine", "driver"))
        result = Campaign(tmp_path, reference, there, 21, mark, blows, noise=True).run()
    assert result.digest != reference.digest
    assert result.blows.total() >= 1, "a build that is done before a blow lands was not hurt by it"
    assert result.journalled > 0


@pytest.mark.campaign
def test_every_strategy_goes_on_from_its_journal_to_the_same_bytes(tmp_path: Path) -> None:
    """Blind answers, votes, format pairs and completions of steps are asked for between the blows."""
    reference = make_reference(tmp_path / "reference", questions=24, open_ended=6, pairing=EVERY_STRATEGY)
    pairs = [row for key, data in reference.files.items() if key.startswith("pairs/") for row in rows_of(data)]
    rollouts = [row for key, data in reference.files.items() if key.startswith("rollouts/") for row in rows_of(data)]
    assert {row["strategy"] for row in pairs} == {"correctness", "dropout_ntp", "vote", "format"}
    assert {counted_as(row["prompt_version"]) for row in rollouts} == {None, "blind", "step"}
    mark = f"{tmp_path.parent.name}-{tmp_path.name}"
    with PLACES["folder"](tmp_path, 31, mark) as there:
        blows = draw_blows(31, ("driver", "engine", "worker"))
        result = Campaign(tmp_path, reference, there, 31, mark, blows).run()
    assert result.digest == reference.digest
    assert result.blows.total() >= 2, "most blows must land"
    assert result.journalled > 0


def rows_of(data: bytes) -> list[dict[str, Any]]:
    return list(pa.ipc.open_file(data).read_all().to_pylist())
