"""The extras: every imported package is declared, and a missing one is named with the command that installs it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core import errors
from mmpr_pipeline.core.errors import EXTRAS, ConfigError, MissingPackageError, explain_missing_package, require

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "botocore": "boto3"}
"""Where a package's distribution is not its own name with dashes."""
BY_OTHERS = {"liger_kernel", "markupsafe", "nltk", "pydantic_core", "torchvision", "wandb"}
"""Packages that come with another one, or that the user chooses and is asked for where they are used."""


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def distribution(requirement: str) -> str:
    return re.split(r"[\[<>=;\s]", requirement)[0].lower().replace("_", "-")


def of(package: str) -> str:
    return DISTRIBUTIONS.get(package, package).lower().replace("_", "-").replace("vl-convert", "vl-convert-python")


WHERE_INSTALLED = {"liger_kernel"}
"""Taken where a user has it, for speed; nothing needs it."""


def test_every_imported_package_is_declared() -> None:
    declared = {distribution(r) for r in project()["dependencies"]}
    declared |= {distribution(r) for group in project()["optional-dependencies"].values() for r in group}
    imported: set[str] = set()
    for path in (ROOT / "mmpr_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - BY_OTHERS - WHERE_INSTALLED - {"mmpr_pipeline", "__future__"}
    assert sorted(name for name in foreign if of(name) not in declared) == []


@pytest.mark.parametrize("extra", list(EXTRAS))
def test_an_extra_brings_the_packages_that_it_is_named_for(extra: str) -> None:
    groups = project()["optional-dependencies"]

    def brought(name: str) -> set[str]:
        found = set()
        for requirement in groups[name]:
            if own := re.match(r"mmpr-pipeline\[(.*)\]", requirement):
                found |= {d for part in own[1].split(",") for d in brought(part)}
            else:
                found.add(distribution(requirement))
        return found

    base = {distribution(r) for r in project()["dependencies"]}
    assert {of(name) for name in EXTRAS[extra]} <= brought(extra)
    assert not {of(name) for name in EXTRAS[extra]} & base


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name in ("ray", "rensa") else object())
    with pytest.raises(ConfigError, match=r"ray, rensa are not installed") as caught:
        require("build")
    assert isinstance(caught.value, ImportError)
    assert caught.value.remedy == "Run `pip install 'mmpr-pipeline[build]'`."
    require("train")


def test_only_a_package_of_an_extra_is_explained() -> None:
    missing = explain_missing_package(ModuleNotFoundError("no", name="torch.distributed"))
    assert isinstance(missing, MissingPackageError)
    assert "mmpr-pipeline[train]" in str(missing)
    assert explain_missing_package(ModuleNotFoundError("no", name="mmpr_pipeline.nothing")) is None


def test_all_brings_everything_but_an_engine() -> None:
    groups = project()["optional-dependencies"]
    assert set(EXTRAS) - {"gpu", "math", "hub"} <= set(re.findall(r"\w+", groups["all"][0]))
    assert "gpu" not in groups["all"][0]
