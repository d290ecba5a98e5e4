"""The part of cpu.lock that the CPU image needs: what the extras `all` and `cpu` ask for, nothing for developers alone.

    .venv/bin/python requirements/image_lock.py > requirements/cpu-image.lock

Dependencies are read from the packages that are installed, so it runs in the environment of `make setup`.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).with_name("cpu.lock")
EXTRAS = ("all", "cpu")
ALSO = ("setuptools", "wheel", "torchvision")
"""What installs the project itself, and what transformers imports without asking for it."""


def needed(extras: tuple[str, ...]) -> set[str]:
    """Names of everything that this project with these extras needs, itself included."""
    own = tomllib.loads((LOCK.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": own["dependencies"], **own["optional-dependencies"]}
    seen: set[tuple[str, str]] = set()
    todo = [(own["name"], extra) for extra in ("", *extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            listed = groups[extra] if name == own["name"] else requires(name) or []
        except PackageNotFoundError:  # left out on purpose, see README.md
            continue
        for requirement in map(Requirement, listed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)]
    return {name for name, _ in seen}


def entries(lock: str) -> dict[str, str]:
    """Each package of a lock with its lines."""
    found = re.split(r"^(?=[A-Za-z])", lock, flags=re.MULTILINE)
    return {canonicalize_name(re.split(r"[=\[]", entry)[0]): entry for entry in found if "==" in entry}


if __name__ == "__main__":
    wanted = needed(EXTRAS) | set(ALSO)
    print("".join(entry for name, entry in entries(LOCK.read_text()).items() if name in wanted), end="")
