from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "training_gpu.py"
ALONE = """
import runpy, sys
for name in ("pydantic", "pyarrow", "ray", "datasets", "vllm", "trl"):  # missing on the GPU machine
    sys.modules[name] = None
sys.argv = [{script!r}, "--out", {out!r}, "--sampler", {sampler!r}, "--only", "attention,numerics,speed,sampling,trl"]
runpy.run_path({script!r}, run_name="__main__")
"""


def sampler() -> str:
    """vLLM's file, found without importing vLLM."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    return str(Path(str(spec.origin)).parent / "v1" / "worker" / "gpu" / "sample" / "gumbel.py")


def results(done: subprocess.CompletedProcess[str], out: Path) -> dict[str, Any]:
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "FAIL" not in done.stdout
    made: dict[str, Any] = json.loads((out / "training_gpu.json").read_text())
    return made


@pytest.mark.slow
def test_the_gpu_script_runs_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    code = ALONE.format(script=str(SCRIPT), out=str(tmp_path), sampler=sampler())
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    found = results(done, tmp_path)
    assert found["numerics"]["figures"]["sdpa"]["gradient_apart_from_plain"] < 1e-4
    assert all(row["concatenated full"]["s_pair"] > 0 for row in found["speed"]["figures"].values())
    assert found["sampling"]["claims"] == {
        "a token depends on seed and position alone": True,
        "draws follow softmax": True,
    }
    assert found["trl"]["figures"]["left out"].startswith("trl, datasets")


@pytest.mark.slow
@pytest.mark.campaign
def test_the_gpu_script_runs_the_trainer_the_command_and_trl_itself(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--only", "trainer,command,trl"]
    found = results(subprocess.run(command, capture_output=True, text=True, check=False), tmp_path)
    assert found["trainer"]["claims"]["every tensor moved"]
    assert found["command"]["claims"]["the model is exported"]
    assert found["trl"]["claims"]["2+2: the first losses are equal"]


def test_a_section_without_time_is_said_to_be_one(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--only", "speed", "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL  speed: there is time for it" in done.stdout
