"""Which model a build uses, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.files import sealed
from mmpr_pipeline.models import resolve
from mmpr_pipeline.pipeline import choosing
from mmpr_pipeline.pipeline.choosing import FewRight, few_right, with_model
from mmpr_pipeline.pipeline.config import BuildConfig, load_config, name_of


def config(tmp_path: Path, **flags: Any) -> BuildConfig:
    return load_config(None, {"sources": ["geoqa"], "out": str(tmp_path / "out"), **flags})


def test_with_gpus_the_default_is_the_papers_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "local_gpus", lambda: 2)
    monkeypatch.setattr(choosing, "first_use", lambda name, revision: f"{name} will be converted")
    chosen = with_model(config(tmp_path))
    assert chosen.config.engine.model == "OpenGVLab/InternVL2-8B"
    assert not chosen.config.rehearsal
    assert "2 on this machine" in chosen.lines[0]
    assert chosen.lines[1] == "OpenGVLab/InternVL2-8B will be converted"


def test_without_gpus_it_is_a_rehearsal_and_part_of_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "local_gpus", lambda: 0)
    chosen = with_model(config(tmp_path))
    assert chosen.config.rehearsal
    assert chosen.config.identity()["rehearsal"] is True
    assert "rehearsal" not in config(tmp_path).identity()
    assert with_model(chosen.config).config == chosen.config, "asked again, nothing changes"


def test_an_output_goes_on_with_its_model_whatever_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "local_gpus", lambda: 8)
    begun = {"config": {"engine": {"name": "vllm", "model": "nano"}, "rehearsal": True}, "digest": "d", "identity": {}}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_bytes(sealed(begun))
    chosen = with_model(config(tmp_path)).config
    assert (chosen.engine.model, chosen.rehearsal) == ("nano", True)


def test_nano_named_on_foreign_sources_warns(tmp_path: Path) -> None:
    assert "geoqa" in with_model(config(tmp_path, **{"engine.model": "nano"})).warnings[0]
    own = with_model(config(tmp_path, **{"engine.model": "nano", "sources": ["nano_grid"]}))
    assert own.warnings == ()
    assert not own.config.rehearsal, "it was named"


def test_hardly_any_right_answer_warns_once_after_a_hundred_questions() -> None:
    watch = FewRight()
    assert watch.warnings({"questions": 99, "by/a/correct": 0, "by/a/checked": 500}) == []
    [said] = watch.warnings({"questions": 100, "by/a/correct": 3, "by/a/checked": 300, "by/b/checked": 300})
    assert "0.5% of 600" in said
    assert watch.warnings({"questions": 200, "by/a/correct": 0, "by/a/checked": 500}) == []
    assert few_right(5, 100) == []


def test_gpus_are_those_that_programs_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, count in (("", 0), ("-1", 0), ("0,3", 2), ("GPU-5a", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert resolve.local_gpus() == count


def test_an_output_is_named_after_its_sources() -> None:
    assert load_config(None, {"sources": ["geoqa:0.5", "dir/own.yaml"]}).out == "out/geoqa-own"
    assert name_of([f"s{i}" for i in range(9)]) == "s0-and-8-more"
    assert json.loads(json.dumps(load_config(None, {"sources": ["geoqa"], "out": "x"}).model_dump()))["out"] == "x"
