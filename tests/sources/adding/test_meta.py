"""`mmpr sources add meta.json`: all sources of an InternVL trainer at once; a folder of declarations as a source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import PresetPair
from mmpr_pipeline.pipeline.config import absolute_build_paths, load_config
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.adding import draft_entry, meta_entries
from mmpr_pipeline.sources.declaration.catalog import expand
from mmpr_pipeline.sources.review.checks import check_source
from tests.sources.adding.test_draft import images, lines


def made(folder: Path, **more: Any) -> Path:
    """MMPR's layout: `MMPR/meta.json`, `MMPR/annotations`, `MMPR/images/NAME`; paths start beside the folder MMPR."""
    meta: dict[str, Any] = {}
    for name in ("M3CoT", "describe 1"):
        images(folder / "MMPR" / "images" / name)
        rows = [{"image": f"{i}.png", "question": f"<image>\nWhat is {i}?", "chosen": f"{i}!", "rejected": f"not {i}"}
                for i in range(12)]  # fmt: skip
        lines(folder / "MMPR" / "annotations" / f"{name}.jsonl", rows)
        meta[name] = {"root": f"MMPR/images/{name}", "annotation": f"MMPR/annotations/{name}.jsonl",
                      "max_dynamic_patch": 12, "repeat_time": 1, **more}  # fmt: skip
    (folder / "MMPR" / "meta.json").write_text(json.dumps(meta))
    return folder / "MMPR" / "meta.json"


def test_every_source_gets_its_declaration(tmp_path: Path) -> None:
    entries = meta_entries(str(made(tmp_path)))
    assert [entry.name for entry in entries] == ["m3cot", "describe_1"]
    (tmp_path / "out").mkdir()
    for entry in entries:
        draft = draft_entry(entry, tmp_path / "out")
        draft.write()
        checked = check_source(open_source(str(draft.path)), 0)
        assert (draft.declaration.tiles, draft.declaration.kind, checked.rejects) == (12, "none", [])
        assert [item.preset for _, item in checked.questions][3] == PresetPair(chosen="3!", rejected="not 3")
    written = [str(tmp_path / "out" / f"{name}.yaml") for name in ("describe_1", "m3cot")]
    assert expand([str(tmp_path / "out")]) == written


@pytest.mark.parametrize(("times", "share"), [(0.3, "m3cot:0.3"), (4, "m3cot*4")])
def test_how_often_it_is_taken_is_told_as_a_share(times: float, share: str, tmp_path: Path) -> None:
    draft = draft_entry(meta_entries(str(made(tmp_path, repeat_time=times)))[0], tmp_path)
    assert any(share in doubt for doubt in draft.doubts)
    assert f"--sources {share}" in draft.text
    assert yaml.safe_load(draft.text)["name"] == "m3cot"


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    entry = meta_entries(str(made(tmp_path, annotation="MMPR/annotations/none.jsonl")))[0]
    with pytest.raises(ConfigError, match="There is no MMPR/annotations/none"):
        draft_entry(entry, tmp_path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"a": {"root": "x"}}', '{"a": 1}', "{", '{"a": {"root": 1, "annotation": 2}}']
)
def test_other_json_is_no_meta(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(text)
    assert meta_entries(str(tmp_path / "rows.json")) == []
    assert meta_entries(str(tmp_path)) == meta_entries("org/name") == []


def test_a_folder_of_declarations_stays_one_in_other_working_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "decls").mkdir()
    (tmp_path / "decls" / "one.yaml").write_text("name: one")
    (tmp_path / "geoqa").mkdir()
    (tmp_path / "geoqa" / "two.yaml").write_text("name: two")
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {"sources": ["decls", "geoqa", "math"], "out": "out"})
    assert absolute_build_paths(config).sources == (str(tmp_path / "decls"), "geoqa", "math"), (
        "the catalog's names come first"
    )
    assert expand(["decls", "geoqa"]) == ["decls/one.yaml", "geoqa"]


@pytest.mark.slow
def test_the_command_writes_what_can_be_and_says_what_cannot(tmp_path: Path) -> None:
    meta = made(tmp_path)
    told = json.loads(meta.read_text())
    meta.write_text(json.dumps({**told, "gone": {"root": "x", "annotation": "gone.jsonl"}}))
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "sources", "add", str(meta), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "-y"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "m3cot  12 of 12 rows are questions, pairs" in done.stdout
    assert "gone  left out: There is no gone.jsonl." in done.stdout
    assert "Wrote 2 of 3 declarations" in done.stdout
    assert "--strategies preset" in done.stdout
    checked = subprocess.run(
        [*command[:4], "check", str(tmp_path / "out")], capture_output=True, text=True, check=False, timeout=120
    )
    assert checked.returncode == 0, checked.stderr
    assert "2 of 2 sources have no error." in checked.stdout
