"""The garbage collector rests while large libraries are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from mmpr_pipeline.models.large_imports import large_imports


@pytest.fixture(autouse=True)
def _nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_rests_within_and_passes_over_what_was_made() -> None:
    with large_imports():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_an_import_that_fails_leaves_it_at_work() -> None:
    with pytest.raises(ImportError), large_imports():
        raise ImportError("no such library")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with large_imports():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0
