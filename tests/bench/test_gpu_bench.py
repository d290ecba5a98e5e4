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
sys.argv = [{script!r}, "--models", "tiny", "--groups", "1,3", "--repeats", "1", "--json", {out!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.slow
def test_the_gpu_bench_runs_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    code = ALONE.format(script=str(SCRIPT), out=str(out))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(out.read_text())["results"]
    assert [line["group"] for line in results] == ["1+1", "3+3"]
    for line in results:
        assert line["apart"] < 1e-4  # the shared row and the concatenated ones agree
        assert line["shared"]["seconds"] > 0
        assert line["concatenated"]["mfu"] > 0
