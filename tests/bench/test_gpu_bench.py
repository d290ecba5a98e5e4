from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "training_gpu.py"
ALONE = """
import runpy, sys
for name in ("pydantic", "pyarrow", "ray", "datasets", "vllm", "trl"):  # not to be had on the GPU machine
    sys.modules[name] = None
sys.argv = [{script!r}, "--out", {out!r}, "--only", "attention,numerics,speed"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.slow
def test_the_gpu_script_runs_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    code = ALONE.format(script=str(SCRIPT), out=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = json.loads((tmp_path / "training_gpu.json").read_text())
    assert found["numerics"]["figures"]["sdpa"]["gradient_apart_from_plain"] < 1e-4
    assert all(row["concatenated full"]["pairs_s"] > 0 for row in found["speed"]["figures"].values())
    assert "FAIL" not in done.stdout


@pytest.mark.slow
def test_the_gpu_script_runs_the_trainer_and_the_command_itself(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--only", "trainer,command"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = json.loads((tmp_path / "training_gpu.json").read_text())
    assert found["trainer"]["claims"]["every tensor moved"]
    assert found["command"]["claims"]["the model is exported"]
