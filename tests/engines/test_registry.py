"""Engines of other distributions, and what of an engine's settings is part of an output's identity."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from mmpr_pipeline.cli import app
from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.registry import engine_identity, make_engine
from mmpr_pipeline.engines.settings import EngineSettings, label_suffix
from mmpr_pipeline.engines.start import LocalEngine, actor_count, start_engines
from mmpr_pipeline.engines.vllm.engine import KIND
from mmpr_pipeline.models.resolve import resolve_model
from tests.engines.contract import SAMPLING, Check, ask, seen_question

MODULE = """
from mmpr_pipeline.engines.scripted.engine import Script, ScriptedEngine

class Mine(ScriptedEngine):
    def __init__(self, settings):
        super().__init__(Script(tokens=settings.options.get("tokens", 10)))

class Faulty(Mine):
    async def sample(self, request):
        return request.question.no_such_field

def broken(settings):
    raise KeyError("no such thing")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution as pip installs it: a module, and its metadata with an entry point."""
    (tmp_path / "my_engines.py").write_text(MODULE)
    info = tmp_path / "my_engines-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-engines\nVersion: 1.2\n")
    names = {"mine": "Mine", "broken": "broken", "faulty": "Faulty"}
    lines = [f"{name} = my_engines:{attribute}" for name, attribute in names.items()]
    (info / "entry_points.txt").write_text("\n".join(["[mmpr.engines]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield info
    sys.modules.pop("my_engines", None)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("check", SAMPLING, ids=lambda check: check.__name__)
async def test_an_engine_of_another_distribution_keeps_the_contract(check: Check) -> None:
    await check(make_engine(EngineSettings(name="mine")))


@pytest.mark.usefixtures("plugin")
async def test_a_foreign_engine_is_made_by_its_first_request() -> None:
    """It may load a model of gigabytes: the driver of a build must not."""
    engine = await start_engines(EngineSettings(name="mine", model="theirs"))
    assert isinstance(engine, LocalEngine)
    assert (engine.info.engine, engine.info.model, engine.can_continue) == ("mine", "theirs", True)
    assert engine.state == "created"
    await engine.sample(ask(seen_question()))
    assert engine.state == "open"
    await engine.close()


@pytest.mark.usefixtures("plugin")
async def test_an_error_in_a_foreign_engine_is_told_plainly_and_its_traceback_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = LocalEngine(EngineSettings(name="faulty"))
    with pytest.raises(EngineError, match=r"The faulty engine failed in sample: AttributeError: .*no_such_field"):
        await engine.sample(ask(seen_question()))
    assert "Traceback" in caplog.text
    await engine.close()


@pytest.mark.usefixtures("plugin")
def test_a_foreign_engine_is_used_from_the_command_line_by_name() -> None:
    result = CliRunner().invoke(app, ["engine-check", "--engine", "mine", "--samples", "4"])
    assert result.exit_code == 0, result.output
    assert "32 of 32 rollouts" in result.output


@pytest.mark.usefixtures("plugin")
def test_a_foreign_engine_that_raises_whatever_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="no such thing"):
        make_engine(EngineSettings(name="broken"))
    assert actor_count(EngineSettings(name="broken")) == 0


def test_the_version_of_its_distribution_is_part_of_the_identity(plugin: Path) -> None:
    settings = EngineSettings(name="mine", options={"tokens": 12})
    before = engine_identity(settings)
    assert before == {"name": "mine", "options": {"tokens": 12}, "origin": "my-engines 1.2"}
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: my-engines\nVersion: 1.3\n")
    assert engine_identity(settings)["origin"] == "my-engines 1.3"
    assert "origin" not in engine_identity(EngineSettings(name="scripted"))


def test_an_unknown_engine_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ValidationError, match="scripted"):
        EngineSettings(name="scriptd")


BASE = engine_identity(EngineSettings())


@pytest.mark.parametrize(
    "options",
    [
        {"quantization": "fp8"},
        {"kv_cache_dtype": "fp8"},
        {"hf_overrides": {"rope_scaling": None}},
        {"load_format": "dummy"},
        {"mm_processor_kwargs": {"max_dynamic_patch": 24}},
        {"some_option_of_a_later_vllm": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_may_change_rollouts_change_identity_and_label(options: dict[str, Any]) -> None:
    settings = EngineSettings(options={**options, "max_num_seqs": 8})
    assert engine_identity(settings) == {**BASE, "options": options}
    assert KIND.describe is not None
    label = KIND.describe(settings).model
    assert label.startswith(f"{resolve_model('nano').label}+{next(iter(options))}-")


@pytest.mark.parametrize("name", ["max_num_seqs", "max_num_batched_tokens", "mm_encoder_tp_mode", "enforce_eager"])
def test_options_for_speed_and_memory_change_neither(name: str) -> None:
    assert engine_identity(EngineSettings(options={name: 1})) == BASE
    assert label_suffix({name: 1}) == ""


@pytest.mark.parametrize("name", ["model", "revision", "seed", "dtype", "max_model_len"])
def test_what_decides_the_model_is_no_option(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"options\n.*cannot set {name}"):
        EngineSettings(options={name: "x"})


def test_a_reproducible_build_names_its_gpu_and_versions() -> None:
    identity: Any = engine_identity(EngineSettings(reproducible=True, gpu="H100", tensor_parallel=2))
    assert identity["reproducible"]["gpu"] == "H100"
    assert identity["reproducible"]["tensor_parallel"] == 2
    assert "torch" in identity["reproducible"]["versions"]
