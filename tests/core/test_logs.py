"""Logs: a file a process, secrets masked, and a build that leaves the story of its shards."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpr_pipeline.core.logs import attach, choose_level, keep_logs, take_over
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.driver import run_build
from tests.pipeline.made import make_source


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = logging.getLogger("mmpr_pipeline")
    before = list(package.handlers), package.level, package.propagate
    for name in ("MMPR_LOGS", "MMPR_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in ("MMPR_LOGS", "MMPR_LOG_LEVEL"):
        os.environ.pop(name, None)
    package.handlers, package.propagate = before[0], before[2]
    package.setLevel(before[1])


def lines_of(folder: Path, role: str) -> str:
    return "".join(path.read_text() for path in folder.glob(f"{role}-*.log"))


def test_a_file_a_process_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    keep_logs(tmp_path / "logs")
    logging.getLogger("mmpr_pipeline.engines.pool").warning("no %s for hf_secretsecretsecret", "room")
    logging.getLogger("mmpr_pipeline.engines.pool").debug("too quiet")
    said = lines_of(tmp_path / "logs", "driver")
    assert "WARNING" in said
    assert "no room for" in said
    assert "secretsecret" not in said
    assert "too quiet" not in said
    choose_level("debug")
    attach("driver")
    logging.getLogger("mmpr_pipeline.x").debug("loud enough")
    assert "loud enough" in lines_of(tmp_path / "logs", "driver")


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_logs(tmp_path / "file" / "logs")
    logging.getLogger("mmpr_pipeline.x").info("nobody hears it")


def test_a_level_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="debug, info, warning or error"):
        choose_level("loud")


@pytest.mark.slow
def test_a_build_tells_of_its_shards_and_verify_passes_its_logs_by(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=4)
    settings = {"sources": [str(source)], "out": str(tmp_path / "out"), "shards": 2, "engine.name": "scripted"}
    run_build(load_config(None, {**settings, "engine.actors": 1, "screening.decontaminate": False, "workers": 1}))
    said = lines_of(tmp_path / "out" / "logs", "worker")
    for shard in (0, 1):
        assert f"shard {shard} of 2 begins" in said
        assert f"shard {shard} of 2 is finished: " in said
    assert verify(str(tmp_path / "out")).problems == []


def test_other_libraries_warn_into_the_log_and_not_onto_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = logging.getLogger("a_noisy_library")
    loud = logging.StreamHandler()
    library.addHandler(loud)
    try:
        take_over("a_noisy_library")  # no log: errors only
        library.warning("a sequence is long")
        assert "a sequence" not in capsys.readouterr().err
        keep_logs(tmp_path)
        take_over("a_noisy_library")
        logging.getLogger("a_noisy_library.part").warning("Token indices are long")
        assert capsys.readouterr().err == ""
        assert "a_noisy_library.part: Token indices are long" in lines_of(tmp_path, "driver")
    finally:
        logging.captureWarnings(False)
        library.handlers.clear()
