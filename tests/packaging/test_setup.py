"""`make setup` before it installs anything: which Python it takes, and what it says where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "requirements" / "setup.sh"


def a_python(path: Path, version: str) -> Path:
    """A stand-in that answers `-c` as a Python of this version would, and makes no virtual environment."""
    code = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0); exec(sys.argv[1])"
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{code}" "$2"\necho "asked: $*"; exit 9\n')
    path.chmod(0o755)
    return path


def setup(tmp_path: Path, python: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "path").mkdir(exist_ok=True)
    names = {"PATH": str(tmp_path / "path"), "PYTHON": str(python), "VENV": str(tmp_path / "venv"), **environment}
    return subprocess.run(["/bin/sh", str(SETUP)], env=names, capture_output=True, text=True, check=False)


def test_a_python_that_is_too_old_is_refused(tmp_path: Path) -> None:
    done = setup(tmp_path, a_python(tmp_path / "python", "3.10"))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_a_python_for_which_torch_is_not_locked_is_told_what_to_do(tmp_path: Path, version: str) -> None:
    done = setup(tmp_path, a_python(tmp_path / "python", version))
    assert done.returncode == 1
    assert "PYTHON=/path/to/python3.11" in done.stderr
    assert "TORCH_INDEX=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_locked_python_is_taken_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    a_python(tmp_path / "path" / "python3.11", "3.11")
    done = setup(tmp_path, a_python(tmp_path / "python", "3.12"))
    assert "taking python3.11" in done.stdout
    assert f"asked: -m venv {tmp_path / 'venv'}" in done.stdout


def test_with_an_index_of_torch_any_python_is_taken(tmp_path: Path) -> None:
    done = setup(tmp_path, a_python(tmp_path / "python", "3.13"), TORCH_INDEX="https://wheels.example")
    assert f"asked: -m venv {tmp_path / 'venv'}" in done.stdout
