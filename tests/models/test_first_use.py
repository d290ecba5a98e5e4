"""An original checkpoint is converted when it is first used, once, into the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.models.convert import first_use as used
from mmpr_pipeline.models.resolve import resolve_model
from mmpr_pipeline.training.policy.load import find_model
from tests.training import originals


def test_it_is_converted_once_under_a_label_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    source = originals.original(tmp_path / "original", "internlm2")
    model = resolve_model(str(source))
    said = used.first_use(str(source), None)
    assert said is not None
    assert "MiB" in said
    assert "converted once" in said
    found = used.native(model)
    assert found.config["model_type"] == "internvl"
    assert found.label == f"{model.label}+native" == used.native_label(model)
    assert used.first_use(str(source), None) is None, "it is there now"
    before = (Path(found.path) / "config.json").stat().st_mtime_ns
    assert find_model(str(source)).path == Path(found.path), "training uses the same one"
    assert (Path(found.path) / "config.json").stat().st_mtime_ns == before


def test_a_native_model_stays_where_it_is() -> None:
    nano = resolve_model("nano")
    assert used.native(nano) is nano
    assert used.first_use("nano", None) is None
