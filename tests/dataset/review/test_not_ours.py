"""What is no output, or one that lost files: each command says so, and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli.app import app
from mmpr_pipeline.core.errors import DatasetError, MmprError
from mmpr_pipeline.dataset.export.run import export
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.publish.run import publish
from mmpr_pipeline.dataset.review.verify import verify


def test_a_folder_of_something_else_is_no_output_whose_build_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "internvl"}')
    with pytest.raises(DatasetError, match="is no output of `mmpr build`"):
        verify(tmp_path / "model")


def test_an_empty_folder_is_not_taken_for_a_misspelt_one(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    with pytest.raises(DatasetError, match=r"There is nothing at [^;]*pairs\.\n"):
        verify(tmp_path / "pairs")


def test_marks_of_what_is_no_output(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["marks", str(tmp_path / "gone")])
    assert isinstance(result.exception, MmprError)
    assert "There is nothing at" in str(result.exception)


def test_a_damaged_file_of_marks_is_named(out: Path) -> None:
    (out / layout.MARKS).write_text("{bad\n")
    report = verify(out)
    assert [problem.name for problem in report.problems] == ["bad_marks"]
    assert "Correct or remove that line" in " ".join(report.remedies)


@pytest.mark.parametrize("kind", ["images", "pairs"])
def test_a_dry_run_of_publish_misses_no_file(out: Path, kind: str) -> None:
    shutil.rmtree(out / kind)
    with pytest.raises(DatasetError, match=rf"{kind}-\d+-of-\d+\.arrow is gone.*\n.*Bring it back"):
        publish(out, "org/name", dry_run=True)


def test_files_that_are_gone_or_cut_come_with_what_to_do(out: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(out, whole)
    shutil.rmtree(out / "images")
    with pytest.raises(MmprError, match="`mmpr verify` names all"):
        export(out, "trl", tmp_path / "one")
    for path in (whole / "pairs").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MmprError, match=r"not a readable Arrow file.*\n.*Bring it back"):
        export(whole, "trl", tmp_path / "two")
