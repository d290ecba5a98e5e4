"""VQA's official files on the Hub, built from end to end: questions, annotations and photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.hub.repository import Repository
from tests.hub.server import HubServer
from tests.sources.declaration.test_catalog_rows import rows_of
from tests.sources.made import png_bytes

pytestmark = pytest.mark.slow  # the client process imports `datasets`

ROOT = Path(__file__).resolve().parents[3]
QUESTIONS = "v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "v2_mscoco_train2014_annotations.json"
ROWS, UNANSWERED = 12, 7
BUILD = """
import sys
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.engines.registry import make_engine
from tests.pipeline.test_golden import finished
plan = make_build_plan(load_config(None, {
    "sources": [sys.argv[1]], "out": sys.argv[2], "shards": 2, "engine.name": "scripted",
    "engine.script": {"solve_rate": 0.5, "extremes": 0.0}, "screening.decontaminate": "none",
}))
finished(plan, make_engine(plan.config.engine))
"""


def test_questions_and_annotations_are_joined_over_the_hub(tmp_path: Path) -> None:
    examples = rows_of("vqav2_official")
    rows = [
        {**examples[i % 2], "question_id": 1000 + i, "image_id": i // 2, "multiple_choice_answer": f"a{i}"}
        for i in range(ROWS)
    ]
    asked = [{name: row[name] for name in ("question_id", "image_id", "question")} for row in rows]
    told = [
        {k: v for k, v in row.items() if k != "question"}
        for row in reversed(rows)
        if row["question_id"] != 1000 + UNANSWERED
    ]
    info = {"info": {"year": 2017}, "license": {"name": "CC"}, "data_subtype": "train2014"}
    hub = HubServer()
    hub.repositories["made/vqa"] = Repository("made/vqa")
    hub.repositories["made/vqa"].put({
        QUESTIONS: json.dumps({**info, "questions": asked}).encode(),
        ANNOTATIONS: json.dumps({**info, "annotations": told}).encode(),
        **{f"train2014/COCO_train2014_{i:012d}.jpg": png_bytes(i) for i in range(ROWS // 2)},
    }, "made")  # fmt: skip
    official = yaml.safe_load((ROOT / "mmpr_pipeline/sources/catalog/vqav2_official.yaml").read_text("utf-8"))
    own = {
        "hub": {"id": "made/vqa", "files": QUESTIONS}, "join": {"file": ANNOTATIONS, "key": "question_id"},
        "image_root": "train2014",
    }  # fmt: skip
    declared = {name: value for name, value in official.items() if name not in ("files", "rows")} | own
    (tmp_path / "vqa.yaml").write_text(yaml.safe_dump(declared), "utf-8")
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", BUILD, str(tmp_path / "vqa.yaml"), str(tmp_path / "out")]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    finally:
        hub.close()
    found = [
        row
        for path in sorted((tmp_path / "out" / "questions").glob("*"))
        for row in pa.ipc.open_file(path).read_all().to_pylist()
    ]
    assert [(row["source_id"], row["answer"]) for row in found if row["question_id"]] == [
        (str(1000 + i), f"a{i}") for i in range(ROWS) if i != UNANSWERED
    ]
    assert [(row["source_id"], row["reason"]) for row in found if not row["question_id"]] == [
        ("row 7", "no_joined_row")
    ]
    assert {row["text"] for row in found if row["question_id"]} == {row["question"] for row in rows}
    assert sum(row["pairs"] for row in found) > 0
    sizes = {path: len(blob.data) for path, blob in hub.repositories["made/vqa"].head().files.items()}
    assert hub.sent == sizes, "each file is sent once"
