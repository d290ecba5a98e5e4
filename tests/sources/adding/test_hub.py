"""`mmpr sources add ORG/NAME` over the Hub's protocol: splits, licence, archives, files without a card."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.sources.declaration.schema import load_declaration
from tests.hub.repository import Repository
from tests.hub.server import HubServer
from tests.sources.made import png_bytes

pytestmark = pytest.mark.slow  # each client process imports `datasets`

CARD = b"""---
license: cc-by-sa-4.0
configs:
- config_name: other
  data_files: [{split: train, path: other/*}]
- config_name: default
  data_files: [{split: testmini, path: data/testmini-*}, {split: test, path: data/test-*}]
---
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def questions(count: int, struct: bool) -> list[dict[str, Any]]:
    made = []
    for i in range(count):
        image: Any = {"bytes": png_bytes(i, (40, 30)), "path": None} if struct else f"images/{i}.png"
        told = {"choices": ["red", "blue", "green"], "answer": i % 3, "image": image}
        made.append({"id": str(i), "question": f"Which colour is {i}?", **told})
    return made


def zipped(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(count):
            archive.writestr(f"images/{i}.png", png_bytes(i, (40, 30)))
    return buffer.getvalue()


def mmpr(hub: HubServer, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mmpr_pipeline.cli", *arguments],
        env={**os.environ, **settings, "HF_HUB_DISABLE_TELEMETRY": "1", "COLUMNS": "160"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,  # against hanging only: the machine may be busy
    )


def test_a_data_set_with_a_card_is_added_checked_and_its_licence_taken(tmp_path: Path) -> None:
    files = {
        "README.md": CARD,
        "other/train.parquet": parquet(questions(3, True)),
        "data/testmini-00000-of-00001.parquet": parquet(questions(30, True)),
        "data/test-00000-of-00001.parquet": parquet(questions(3, True)),
    }
    hub = HubServer(files, "AI4Math/MathVista")
    try:
        added = mmpr(hub, tmp_path, "sources", "add", "AI4Math/MathVista", "--name", "maths", "--yes")
        assert added.returncode == 0, added.stderr
        told = load_declaration(tmp_path / "maths.yaml")
        assert told.hub
        assert (told.hub.id, told.hub.config, told.hub.split) == ("AI4Math/MathVista", "default", "testmini")
        assert (told.licence, told.role, told.answer_form) == ("cc-by-sa-4.0", "evaluation", "index")
        assert "other" in added.stdout
        assert "The catalog has it already, as mathvista" in " ".join(added.stdout.split())
        assert "testmini, test" in added.stdout
        checked = mmpr(hub, tmp_path, "sources", "check", "maths.yaml")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "golds accepted by the checker    30 of 30" in checked.stdout
    finally:
        hub.close()


def test_a_repository_of_rows_and_a_zip_of_images_without_a_card(tmp_path: Path) -> None:
    lines = "\n".join(map(json.dumps, questions(8, False))).encode()
    hub = HubServer()
    hub.repositories["made/zipped"] = Repository("made/zipped")
    hub.repositories["made/zipped"].put({"train.jsonl": lines, "images.zip": zipped(8)}, "made")
    try:
        added = mmpr(hub, tmp_path, "sources", "add", "made/zipped", "--yes", "--out", "z.yaml")
        assert added.returncode == 0, added.stdout + added.stderr
        told = load_declaration(tmp_path / "z.yaml")
        assert told.archives == ("images.zip",)
        assert "the checker accepts 8 of 8 golds" in " ".join(added.stdout.split())
        checked = mmpr(hub, tmp_path, "sources", "check", "z.yaml", "--page", "z.html")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert (tmp_path / "z.html").read_text().count("data:image/png") == 8
        nothing = mmpr(hub, tmp_path, "sources", "add", "made/nothing", "--yes")
        assert nothing.returncode == 1
        assert "made/nothing" in nothing.stderr
        assert "Traceback" not in nothing.stderr
    finally:
        hub.close()
