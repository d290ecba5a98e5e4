"""A local and an S3 store for the same tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.storage import Store, open_store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each sort."""
    if request.param == "local":
        return open_store(tmp_path / "out")
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")
