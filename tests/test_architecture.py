"""docs/architecture.md agrees with the code: every place that it names exists, and its floors are the guard's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mmpr_pipeline
from tests.test_package import FLOORS

ROOT = Path(mmpr_pipeline.__file__).parent
PAGE = (ROOT.parent / "docs" / "architecture.md").read_text("utf-8")


def test_every_step_names_code_that_exists() -> None:
    places = re.findall(r"\| `([\w/]+\.py)` `(\w+)` \|", PAGE)
    assert len(places) > 20
    for path, name in places:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
        assert name in defined, f"{path} defines no {name}"


def test_the_floors_are_those_of_the_guard() -> None:
    picture = re.search(r"```\ncli(.*?)```", PAGE, re.DOTALL)
    assert picture
    lines = ("cli" + picture[1]).strip().splitlines()
    drawn = [{name.strip() for name in re.split(r" {2,}", line)[0].split("·")} for line in lines]
    assert drawn == [set(floor) for floor in reversed(FLOORS)]
