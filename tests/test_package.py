"""The package as a whole: every module imports, low rooms import no higher one, and light ones stay light."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmpr_pipeline

ROOT = Path(mmpr_pipeline.__file__).parent
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "mmpr_pipeline."))
ENTRIES = {name for name in MODULES if name.endswith(("__main__", "_worker"))}

ROOMS = [
    ("errors",),
    ("records",),
    ("checking", "storage"),
    ("nano",),
    ("sources",),
    ("config", "sampling"),
    ("pairing",),
    ("dataset",),
    ("build", "training", "report"),
    ("evaluation",),
    ("cli",),
]
"""Rooms from the ground floor up; those of one line may not import each other, except as ALLOWED says."""
ALLOWED = {
    ("sampling", "config"),  # an engine is made from its settings,
    ("config", "sampling"),  # and the settings hold how to decode
    ("training", "build"),  # both open a Ray session in the same way
    ("nano", "sampling"),  # the tiny model is trained on the very prompts that it will be asked
}
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


@pytest.mark.parametrize("name", [m for m in MODULES if m not in ENTRIES])
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    return {name.split(".")[1] for name in names if name.startswith("mmpr_pipeline.")}


def test_no_room_imports_a_higher_one() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = parts[0]
        for other in imported_rooms(path) - {room}:
            higher = FLOOR.get(other, -1) >= FLOOR.get(room, 99)
            if higher and (room, other) not in ALLOWED:
                wrong.append(f"{'/'.join(parts)} imports {other}")
    assert wrong == []


def test_the_command_line_and_the_records_import_nothing_heavy() -> None:
    code = "import sys, mmpr_pipeline.cli, mmpr_pipeline.core.errors; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert loaded.isdisjoint({"torch", "ray", "vllm", "transformers", "datasets", "sympy", "pyarrow", "PIL", "numpy"})
