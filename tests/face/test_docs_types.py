"""Python on the pages passes `mypy --strict`: what the library offers has types, and they fit what the pages do."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmpr_pipeline

ROOT = Path(mmpr_pipeline.__file__).parents[1]
PAGES = ("docs/python.md", "README.md", "docs/quick-start.md")
_BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.S | re.M)


def program_of(page: str) -> str:
    """All Python of a page, one block after the other; of doctests what stands behind the prompts."""
    blocks = []
    for indent, text in _BLOCK.findall(page):
        code = re.sub(f"^{indent}", "", text, flags=re.M)
        blocks.append(doctest.script_from_examples(code) if code.lstrip().startswith(">>>") else code)
    return "\n".join(blocks)


def checked(programs: dict[str, str], folder: Path) -> str:
    """What mypy says, by the project's settings, which are strict; so it need not read the package again."""
    for name, program in programs.items():
        (folder / f"{name}.py").write_text(program)
    files = [str(folder / f"{name}.py") for name in programs]
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *files]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow  # where nothing has run mypy before, it reads the package
def test_python_on_the_pages_is_strictly_typed(tmp_path: Path) -> None:
    pages = {Path(page).stem.lower().replace("-", "_"): program_of((ROOT / page).read_text("utf-8")) for page in PAGES}
    assert all("mmpr" in program for program in pages.values())
    wrong = "import mmpr_pipeline as mmpr\n\nmmpr.check(3, 4).verdict\nstrategy: mmpr.Strategy = mmpr.Question\n"
    said = checked({**pages, "wrong": wrong}, tmp_path)
    lines = [line for line in said.splitlines() if "error: " in line]
    assert [line for line in lines if "wrong.py" not in line] == []
    assert len(lines) >= 3
