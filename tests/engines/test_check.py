"""`mmpr engine-check`: what works passes line by line, and what does not is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli import app
from mmpr_pipeline.engines.check import CheckLoad, Line, check_engine, make_questions
from mmpr_pipeline.engines.settings import EngineSettings
from tests.packages import need


async def lines_of(**settings: Any) -> dict[str, Line]:
    found: list[Line] = []
    lines = await check_engine(EngineSettings(**{"name": "scripted", **settings}), CheckLoad(8, 4, 64), found.append)
    assert lines == found, "each line is said as it is known"
    return {line.name: line for line in lines}


async def test_a_good_engine_passes_every_line() -> None:
    lines = await lines_of()
    assert {line.state for line in lines.values()} == {"pass", "info"}
    assert "32 of 32 rollouts" in lines["sample"].text
    assert lines["same seeds, same texts"].text == "32 of 32 texts are equal"
    assert lines["continue without image"].text.startswith("8 of 8")


async def test_what_was_not_tried_without_a_gpu_names_lines_that_the_check_says() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/clusters.md"
    rows = page.read_text().partition("## Not tried without a GPU")[2].split("\n|")[3:]
    named = [re.findall("`([^`]+)`", row.split("|")[1]) for row in rows]
    assert len(named) >= 10
    lines = {*await lines_of(), "same texts after a restart"}  # said where there are engine actors
    for row, names in zip(rows, named, strict=True):
        assert [name for name in names if name in lines], f"no line shows {row}"
        assert {name for name in names if name not in lines} <= {"engine.reproducible"}, row


async def test_an_engine_that_does_not_start_says_why() -> None:
    lines = await lines_of(script={"nonsense": 1})
    assert list(lines) == ["start"]
    assert lines["start"].state == "FAIL"
    assert "nonsense" in lines["start"].text


async def test_refused_questions_fail_the_line_with_their_reason() -> None:
    lines = await lines_of(script={"fail_on": ["3"]})
    assert lines["sample"].state == "FAIL"
    assert "28 of 32" in lines["sample"].text
    assert "prompt_too_long" in lines["sample"].text


async def test_an_engine_that_breaks_in_the_middle_fails_and_is_closed(tmp_path: Path) -> None:
    marker = tmp_path / "fail"
    marker.touch()
    lines = await lines_of(script={"fail_while": str(marker)})
    assert lines["to the end"].state == "FAIL"
    assert "The script fails" in lines["to the end"].text


def test_the_questions_are_the_same_everywhere() -> None:
    first, second = make_questions(8), make_questions(8)
    assert first == second
    assert len({question.images[0].sha256 for question in first}) == 8


@pytest.mark.parametrize(("script", "status"), [({}, 0), ({"fail_on": ["1"]}, 1)])
def test_the_command_ends_with_its_verdict(script: dict[str, Any], status: int, tmp_path: Path) -> None:
    config = tmp_path / "build.yaml"
    config.write_text(json.dumps({"engine": {"name": "scripted", "script": script}}))
    result = CliRunner().invoke(app, ["engine-check", "--config", str(config), "--samples", "2", "--json"])
    assert result.exit_code == status, result.output
    assert any(line["state"] == "FAIL" for line in json.loads(result.stdout)) == bool(status)


@pytest.mark.slow
@pytest.mark.campaign  # the contract with vLLM is in tests/engines/vllm
@pytest.mark.timeout(500)
def test_the_embedded_model_on_vllm_passes_every_line() -> None:
    need("vllm")
    result = CliRunner().invoke(app, ["engine-check", "--samples", "8", "--max-tokens", "64", "--json"])
    lines = {line["name"]: line for line in json.loads(result.stdout[result.stdout.index("[") :])}
    assert result.exit_code == 0, lines
    for name in (
        "sample again",
        "same seeds, same texts",
        "prefix cache",
        "kill and restart",
        "continue without image",
    ):
        assert lines[name]["state"] == "pass", lines[name]
