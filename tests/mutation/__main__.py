"""`python -m tests.mutation`: changes one thing in a pure module, runs its tests, and counts what no test noticed.

Comparisons, arithmetic, `and` and `or`, `not`, numbers, truth values, returned values and whole calls are changed, one
at a time, in a copy of the checkout. --most draws so many of each module, by --seed; without it all are tried.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

MODULES: dict[str, list[str]] = {
    "pairing/strategy.py": ["tests/pairing", "tests/pipeline/test_question.py", "tests/pipeline/test_beside.py"],
    "pairing/correctness.py": ["tests/pairing", "tests/pipeline/test_question.py"],
    "pairing/dropout_ntp.py": ["tests/pairing", "tests/pipeline/test_question.py"],
    "pipeline/question.py": ["tests/pipeline/test_question.py", "tests/pipeline/test_beside.py"],
    "rollouts/sampling.py": ["tests/rollouts", "tests/pipeline/test_question.py"],
    "rollouts/prompts.py": ["tests/rollouts"],
    "rollouts/reserved.py": ["tests/rollouts"],
    "core/masking.py": ["tests/core/test_masking.py"],
    "sources/rows/choices.py": ["tests/sources/rows"],
    "sources/rows/columns.py": ["tests/sources/rows"],
    "sources/rows/entries.py": ["tests/sources/rows"],
    "sources/rows/mapping.py": ["tests/sources/rows", "tests/sources/test_asking.py"],
    "training/objective/loss.py": ["tests/training/objective/test_loss.py"],
}
"""Pure modules, and the tests that should notice."""

LIBRARIES = (
    "hypothesis", "numpy", "pyarrow.parquet", "PIL.Image", "pydantic", "yaml", "rich.console", "typer",
    "pytest_asyncio", "pytest_timeout", "torch",
)  # fmt: skip

_COMPARED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, what was changed, and the changed source, for each change that there is."""
    count = sum(len(list(changes(node))) for node in that_run(ast.parse(source)))
    for wanted in range(count):
        tree, number = ast.parse(source), 0
        for node in that_run(tree):
            for what, change in changes(node):
                if number == wanted:
                    change()  # type: ignore[operator]
                    yield getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(tree))
                number += 1


def that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes below this one, but for annotations, which nothing evaluates."""
    for name, value in ast.iter_fields(tree):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                yield child
                yield from that_run(child)


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What can be changed at a node, and how. Docstrings hold nothing of it."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            if other := _COMPARED.get(type(op)):
                yield (
                    f"{type(op).__name__} to {other.__name__}",
                    lambda at=at, other=other: node.ops.__setitem__(at, other()),
                )
    elif isinstance(node, ast.BinOp) and (other := _COMPUTED.get(type(node.op))):  # type: ignore[assignment]
        yield f"{type(node.op).__name__} to {other.__name__}", lambda: setattr(node, "op", other())
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And  # type: ignore[assignment]
        yield f"{type(node.op).__name__} to {other.__name__}", lambda: setattr(node, "op", other())  # type: ignore[union-attr]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield (
            "without not",
            lambda: (setattr(node, "op", ast.Not()), setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))),
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} to {not node.value}", lambda: setattr(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield f"{node.value} to {node.value + 1}", lambda: setattr(node, "value", node.value + 1)
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "return None", lambda: setattr(node, "value", ast.Constant(None))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "call dropped", lambda: setattr(node, "value", ast.Constant(None))


def noticed(copy: Path, tests: list[str], seconds: int) -> str | None:
    """The end of what pytest says where the tests fail, or compute longer; None where they pass.

    They run in a fork of this process, which has imported the libraries: most tests are shorter than that is.
    """
    output = copy.parent / "output"
    child = os.fork()
    if not child:
        status = 1
        try:
            status = _pass(copy, tests, seconds, output)
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return output.read_text(errors="replace")[-3000:] + f"\nstatus {code}" if code else None


def _pass(copy: Path, tests: list[str], seconds: int, output: Path) -> int:
    """Run the tests of the copy; pytest's status."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(place for place in sys.path if Path(place).resolve() != CHECKOUT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "mmpr_pipeline")]:
        del sys.modules[name]
    return int(pytest.main(["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


def main() -> int:
    """Try the mutants; lists those that no test noticed, and the share of the others."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(MODULES), help="paths below mmpr_pipeline")
    parser.add_argument("--most", type=int, help="of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=120, help="that the tests of a mutant may compute")
    asked = parser.parse_args()
    for library in LIBRARIES:
        import_module(library)
    copy = Path(tempfile.mkdtemp(prefix="mmpr-mutants-")) / "checkout"
    skipped = shutil.ignore_patterns(".git", ".venv", "__pycache__", "out", "*.arrow", ".*_cache")
    shutil.copytree(CHECKOUT, copy, ignore=skipped, symlinks=True)
    tried = survived = version = 0
    for module in asked.modules:
        path = copy / "mmpr_pipeline" / module
        whole = path.read_text("utf-8")
        failed = noticed(copy, MODULES[module], asked.seconds)
        assert failed is None, f"the tests of {module} fail as it is:\n{failed}"
        found = list(mutants(whole))
        if asked.most is not None and len(found) > asked.most:
            found = random.Random(f"{asked.seed} {module}").sample(found, asked.most)
        alive = 0
        for line, what, text in sorted(found):
            path.write_text(text, "utf-8")
            version += 1
            os.utime(path, (version, version))  # else Python takes the bytecode of the one before, if it is as long
            if noticed(copy, MODULES[module], asked.seconds) is None:
                alive += 1
                print(f"  survived: {module}:{line} {what}", flush=True)
        path.write_text(whole, "utf-8")
        tried, survived = tried + len(found), survived + alive
        print(f"{module}: {len(found) - alive} of {len(found)} noticed", flush=True)
    print(f"in all {tried - survived} of {tried} noticed, {100 * (tried - survived) / max(tried, 1):.0f}%")
    shutil.rmtree(copy.parent, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
