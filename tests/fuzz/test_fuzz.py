"""The short form of `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.pictures import try_archives, try_pictures
from tests.fuzz.words import SLOW, try_pages, try_texts


@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_are_read_or_named() -> None:
    seen = try_pictures(600, seed=2)
    assert seen["png"] > 50
    assert seen["broken_image"] > 100


@pytest.mark.filterwarnings("ignore")
def test_damaged_archives_are_read_or_refused(tmp_path: Path) -> None:
    seen = try_archives(200, seed=2, folder=tmp_path)
    assert seen["read"] > 50
    assert seen["refused"] > 10


def test_hostile_texts_become_no_control_token_and_take_no_time() -> None:
    seen, longest = try_texts(300, seed=2)
    assert seen["asked"] > 50
    assert seen["reserved_token"] > 20
    assert seen["unparseable"] > 20
    assert longest < SLOW


def test_hostile_texts_are_data_in_the_viewer_and_on_the_card(tmp_path: Path) -> None:
    seen = try_pages(30, seed=2, folder=tmp_path)
    assert seen["200"] >= 2
    assert seen["card"] == 1
