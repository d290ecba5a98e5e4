"""The house as a whole: every module imports, rooms import only lower rooms, nothing imports in a circle."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import mmpr_pipeline

ROOT = Path(mmpr_pipeline.__file__).parent
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "mmpr_pipeline."))
ENTRIES = {name for name in MODULES if name.endswith(("__main__", "_worker"))}

FLOORS = [
    ("core",),
    ("checking", "cluster", "models", "storage"),
    ("rollouts", "sources"),
    ("engines", "nano", "screening"),
    ("pairing", "dataset"),
    ("pipeline", "training"),
    ("evaluation", "report"),
    ("study", "face"),
    ("cli",),
]
"""Rooms from the ground floor up. A room may import the rooms of lower floors, and no room of its own floor."""
LARGEST_FOLDER = 12
SAME_MEANING = {
    "main": "the entry point of a program",
    "read": "one of every row format",
    "scan": "one of every row format",
    "usage": "one of every export format",
    "write": "one of every export format",
}
"""Public names that several modules define, because a protocol or Python's custom asks for it."""
FOREIGN_JSON = (
    "engines/openai/", "engines/vllm/memory.py", "evaluation/harness/lmms.py", "models/convert/", "models/resolve.py",
    "sources/files/formats/tar.py", "sources/rows/entries.py", "storage/s3.py",
)  # fmt: skip
"""Readers of JSON that others define: replies of servers, config.json of models, results of lmms-eval, rows."""
FACES = ("mmpr_pipeline.cli.", "mmpr_pipeline.face.")
"""Rooms whose functions have the names of what they call: commands and the library's public functions."""


def path_of(module: str) -> Path:
    """The file of a module."""
    path = ROOT.parent.joinpath(*module.split("."))
    package = path / "__init__.py"
    # Of a package that became a module, a checkout that was updated keeps a folder with compiled files.
    return package if package.is_file() else path.with_suffix(".py")


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """Module to the modules that it imports: at its top, inside functions, and for types only."""
    known = set(MODULES)
    found: dict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        for node in ast.walk(ast.parse(path_of(module).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mmpr_pipeline"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found[module] |= {name if name in known else node.module for name in names}
            elif isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names if alias.name in known}
    return {module: frozenset(targets - {module, "mmpr_pipeline"}) for module, targets in found.items()}


def circles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names that reach each other, by Tarjan's algorithm."""
    graph: dict[str, list[str]] = defaultdict(list)
    for start, end in edges:
        graph[start].append(end)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph.get(name, ()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            start = stack.index(name)
            if len(group := stack[start:]) > 1:
                found.append(sorted(group))
            del stack[start:]

    for name in list(graph):
        if name not in index:
            visit(name)
    return found


def between(place: Callable[[str], str | None]) -> set[tuple[str, str]]:
    """Imports between places, where `place` gives the place of a module, or None where it does not count."""
    pairs = {(place(module), place(other)) for module, others in imports().items() for other in others}
    return {(a, b) for a, b in pairs if a is not None and b is not None and a != b}


@pytest.mark.parametrize("name", [m for m in MODULES if m not in ENTRIES])
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == {room for floor in FLOORS for room in floor}


def test_no_room_imports_a_higher_one() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    arrows = between(lambda module: module.split(".")[1])
    assert sorted((a, b) for a, b in arrows if floor[a] <= floor[b]) == []


def test_no_modules_import_in_a_circle() -> None:
    packages = {module for module in MODULES if path_of(module).name == "__init__.py"}
    assert circles(between(lambda module: None if module in packages else module)) == []


@pytest.mark.parametrize("folder", sorted({m.rpartition(".")[0] for m in MODULES}))
def test_no_neighbouring_folders_import_in_a_circle(folder: str) -> None:
    def child(module: str) -> str | None:
        inside, _, deeper = module.removeprefix(f"{folder}.").partition(".")
        return inside if module.startswith(f"{folder}.") and deeper else None

    assert circles(between(child)) == []


def test_no_folder_holds_more_than_a_dozen_modules() -> None:
    sizes = {path: len(list(path.glob("*.py"))) - 1 for path in ROOT.rglob("*") if path.is_dir()}
    assert {str(path.relative_to(ROOT)): n for path, n in sizes.items() if n > LARGEST_FOLDER} == {}


def test_no_public_name_has_two_meanings() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        if not module.startswith(FACES):
            for node in ast.parse(path_of(module).read_text("utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    places[node.name].add(module)
    several = {name: sorted(found) for name, found in places.items() if len(found) > 1 and not name.startswith("_")}
    assert {name: found for name, found in several.items() if name not in SAME_MEANING} == {}
    assert set(SAME_MEANING) <= set(several), "an exception that is not needed"


def test_the_command_line_and_the_records_import_nothing_heavy() -> None:
    code = "import sys, mmpr_pipeline.cli, mmpr_pipeline.core.errors; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert loaded.isdisjoint({"torch", "ray", "vllm", "transformers", "datasets", "sympy", "pyarrow", "PIL", "numpy"})


def test_the_help_imports_nothing_but_the_list_of_commands() -> None:
    """So it is there in a fifth of a second. What takes the time is typer, with which it is drawn."""
    code = (
        "import sys, mmpr_pipeline.cli as cli\ntry:\n    cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert "Train a model on an output with MPO." in done.stdout
    loaded = set(done.stderr.split())
    ours = {name for name in loaded if name.startswith("mmpr_pipeline.") and path_of(name).name != "__init__.py"}
    assert ours <= {
        "mmpr_pipeline.cli.app",
        *(f"mmpr_pipeline.core.{name}" for name in ("errors", "masking", "version")),
    }
    assert loaded.isdisjoint(
        {"torch", "ray", "vllm", "transformers", "datasets", "pyarrow", "numpy", "pydantic", "yaml", "httpx", "asyncio"}
    )


def test_no_model_is_loaded_with_its_own_code_unless_the_flag_says_so() -> None:
    """Transformers asks on the terminal where it is not told, and `echo y` would answer."""
    silent = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                said = {word.arg: word.value for word in node.keywords}.get("trust_remote_code")
                if not isinstance(said, ast.Constant) or said.value is not False:
                    silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not silent


def test_what_we_write_and_read_has_types() -> None:
    untyped = {
        str(path.relative_to(ROOT)): count
        for path in ROOT.rglob("*.py")
        if (count := path.read_text("utf-8").count("dict[str, Any]"))
    }
    ours = {name: count for name, count in untyped.items() if not name.startswith(FOREIGN_JSON)}
    assert sum(ours.values()) < 80, ours


def test_no_kind_of_store_plan_or_engine_is_asked_for() -> None:
    """What differs between them is said by their protocols, so that a third party's is no second-class one."""
    asks = re.compile(r"isinstance\([^()]*, [^()]*(?:Store|Plan|Engine|Pool)\b")
    found = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if asks.search(path.read_text("utf-8"))]
    assert not found


UNIDIOMATIC = re.compile(r"to be had|just so|\banew\b|that is there|\bare no \w+ ?\.|(?:is|are) told\b|in vain")
"""Forms that a stranger stumbles over, in what a user reads."""


def spoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of what errors say: the constant parts of their arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
            for part in [*node.args, *(word.value for word in node.keywords)]:
                for piece in ast.walk(part):
                    if isinstance(piece, ast.Constant) and isinstance(piece.value, str):
                        yield piece.lineno, piece.value


def test_errors_and_remedies_are_idiomatic() -> None:
    said = [(module, *found) for module in MODULES for found in spoken(ast.parse(path_of(module).read_text("utf-8")))]
    assert len(said) > 500, "the messages are not found"
    assert [f"{module}:{line}: {text}" for module, line, text in said if UNIDIOMATIC.search(text)] == []


@pytest.mark.parametrize("page", sorted((ROOT.parent / "docs").glob("*.md")), ids=lambda page: page.name)
def test_documentation_is_idiomatic(page: Path) -> None:
    lines = enumerate(page.read_text("utf-8").splitlines(), 1)
    assert [f"{number}: {line}" for number, line in lines if UNIDIOMATIC.search(line)] == []
