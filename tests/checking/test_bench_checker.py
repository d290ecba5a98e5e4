"""The benchmark of checkers: its description of the seed's rules falls into the recorded traps, and it measures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCH))
    try:
        spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCH))


@pytest.mark.parametrize(
    ("kind", "prediction", "gold", "judged"),
    [
        ("document", "CocaCola", "Coca Cola", False),
        ("document", "xyzwq", "coca", True),
        ("choice", "C.14", "C", True),
        ("text", "-5", "5", True),
        ("math", "2\\sqrt{3}", "2\\sqrt{5}", True),
        ("math", "2\\sqrt{3}", "\\sqrt{12}", False),
        ("number", "2008", "2009", True),
        ("number", "5 cm", "5 m", True),
        ("number", "30", "30%", True),
        ("number", "0.3", "30%", True),
        ("number", "guess something like 5 maybe", "5", True),
    ],
)
def test_the_seeds_traps(kind: str, prediction: str, gold: str, judged: bool) -> None:
    assert load("seed_rules").judged(prediction, {"kind": kind, "gold": gold}) is judged


def test_ours_is_right_on_the_embedded_cases() -> None:
    bench = load("checker")
    todo = list(bench.cases(None, None))
    verdicts, seconds, busy, cpu = bench.measured(bench.ours, todo)
    assert [verdict is True for verdict in verdicts] == [row["label"] for _, _, _, row in todo]
    assert all(s > 0 for s in seconds)
    assert len(busy) == len(todo)
    assert cpu >= 0
    assert bench.measured(bench.seed, todo)[0] != [verdict is True for verdict in verdicts]
