"""Declarations made on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmpr_pipeline.sources import Source, open_source
from tests.sources.made import BASE

Declare = Callable[..., Source]


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    """Write a declaration with some fields changed (None takes one away) and open it."""

    def make(data_root: Path | None = None, **fields: Any) -> Source:
        data = {name: value for name, value in {**BASE, **fields}.items() if value is not None}
        path = tmp_path / f"{data['name']}.yaml"
        path.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
        return open_source(str(path), data_root and str(data_root))

    return make
