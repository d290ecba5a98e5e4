from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.bundle import write_bundle
from mmpr_pipeline.storage import open_store


def test_a_bundle_holds_every_row_once_and_needs_nothing_else(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    written = write_bundle(out, folder)
    assert written["files"] == len([path for path in folder.rglob("*") if path.is_file()])
    totals = json.loads((folder / "data/overview.json").read_text())
    for kind in ("questions", "rollouts", "pairs"):
        assert pq.read_metadata(folder / f"data/{kind}.parquet").num_rows == totals[kind]
    library = Library(out)
    tables = [library.shard(shard).questions for shard in library.order]
    shas = {sha for table in tables for images in table.column("images").to_pylist() for sha in images}
    assert {path.stem for path in folder.glob("images/*/*")} == shas
    html = (folder / "index.html").read_text()
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")
    assert (folder / "README.md").read_text().startswith("---\ntitle: out\n")
    assert "sdk: static" in (folder / "README.md").read_text()
    for name in ("viewer/app.js", "markup.js", "vendor/temml.LICENSE", "vendor/hyparquet.LICENSE"):
        assert (folder / "static" / name).is_file()


def test_a_bundle_is_refused_where_it_would_mix_or_be_empty(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        write_bundle(out, out)
    store = open_store(tmp_path / "begun")
    store.write(layout.CONFIG, json_bytes({"config": {"shards": 3}}))
    with pytest.raises(DatasetError, match="no finished shard"):
        write_bundle(tmp_path / "begun", tmp_path / "bundle")
