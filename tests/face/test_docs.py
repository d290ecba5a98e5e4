"""docs/python.md: its examples do what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import mmpr_pipeline

PAGE = Path(mmpr_pipeline.__file__).parents[1] / "docs" / "python.md"


@pytest.mark.slow
def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    done = doctest.testfile(str(PAGE), module_relative=False, globs={"mmpr": mmpr_pipeline})
    assert (done.failed, done.attempted > 10) == (0, True)
