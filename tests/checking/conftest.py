"""Labelled answers of real models: the whole sets beside the checkout, or the sample that is part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA

SAMPLE = Path(__file__).parent / "sample"


@pytest.fixture(scope="session")
def answers() -> Path:
    """The folder of labelled answers."""
    beside = SHARED_DATA / "answers"
    return beside if beside.is_dir() else SAMPLE


def labelled_set(answers: Path, name: str) -> Path:
    """A set's file; skips where only the sample is here and does not have it."""
    path = answers / f"{name}.jsonl"
    if answers == SAMPLE and not path.is_file():
        pytest.skip(f"the sample has no {name}; the whole sets are not beside the checkout")
    return path
