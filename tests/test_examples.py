"""The examples do what they say: the loop on one's own images, and the notebook."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mmpr_pipeline as mmpr
from mmpr_pipeline.cli import app

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["own_images.py"])
    return tmp_path


def test_own_images_declares_sources_whose_rows_are_read(here: Path) -> None:
    loop = runpy.run_path(str(EXAMPLES / "own_images.py"))
    loop["generate"](here / "mine")
    for declaration, rows in zip(loop["declare"](here / "mine"), (40, 10), strict=True):
        checked = CliRunner().invoke(app, ["sources", "check", str(declaration)])
        assert checked.exit_code == 0, checked.output
        assert f"golds accepted by the checker    {rows} of {rows}" in checked.output


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.campaign
def test_own_images_goes_through_the_loop(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sampling is scripted; training is real, of the embedded model. What is asked at the end is another test's."""
    asked: list[dict[str, Any]] = []

    def evaluate(model: str, sources: list[str], **settings: Any) -> dict[str, Any]:
        asked.append({"model": model, "sources": sources, **settings})
        return {"comparison": {"all": "asked"}}

    built, trained = mmpr.build, mmpr.train
    monkeypatch.setattr(mmpr, "train", lambda *a, **k: trained(*a, **k, max_steps=1), raising=False)
    monkeypatch.setattr(mmpr, "evaluate", evaluate, raising=False)
    monkeypatch.setattr(
        mmpr,
        "build",
        lambda *a, **k: built(*a, **{**k, "engine": {"name": "scripted", "script": {"extremes": 0.3}}}),
        raising=False,
    )
    loop = runpy.run_path(str(EXAMPLES / "own_images.py"))
    loop["main"]()
    assert (here / "out/own-images-work/pairs/summary.json").is_file()
    assert (here / "out/own-images-work/model/config.json").is_file()
    assert [(call["model"], call["against"]) for call in asked] == [("out/own-images-work/model", "nano")]
    assert "chosen:" in capsys.readouterr().out


def test_the_cells_of_the_notebook_run_in_order(here: Path) -> None:
    (here / "questions").symlink_to(EXAMPLES / "questions")
    notebook = json.loads((EXAMPLES / "loop.ipynb").read_text("utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)  # noqa: S102
    assert names["summary"]["counts"]["paired"] > 0
    assert len(names["pairs"]) == sum(names["summary"]["counts"]["pairs"].values())
