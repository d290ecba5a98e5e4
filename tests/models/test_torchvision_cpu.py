"""torchvision imports beside a CPU-only torch, in any process, and costs nothing until it is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return result.stdout.strip()


@pytest.mark.parametrize("call", [pytest.param("install", marks=pytest.mark.campaign), "hook"])
def test_torchvision_imports_after_it(call: str) -> None:
    code = f"""
from mmpr_pipeline.models import torchvision_cpu as cpu
cpu.{call}(); cpu.{call}()
import torchvision.transforms as transforms
import torch
print(tuple(transforms.Resize((4, 4))(torch.zeros(3, 8, 8)).shape))
"""
    assert _run(code) == "(3, 4, 4)"


def test_asking_whether_torchvision_is_there_does_not_load_torch() -> None:
    code = """
import importlib.util, sys
from mmpr_pipeline.models import torchvision_cpu as cpu
cpu.hook()
print(importlib.util.find_spec("torchvision") is not None, "torch" in sys.modules)
"""
    assert _run(code) == "True False"


def test_starting_python_imports_nothing_of_the_package() -> None:
    assert _run("import sys; print([name for name in sys.modules if name.startswith('mmpr')])") == "[]"
