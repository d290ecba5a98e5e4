"""A distribution that this package knows nothing of brings a strategy and a checker, used from the command by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.made import make_source

FOREIGN = Path(__file__).parent / "foreign"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where pip installed the distribution."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "foreign"
    subprocess.run(["cp", "-r", str(FOREIGN), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, str(source)], check=True)
    return folder


def mmpr(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))])
    command = [sys.executable, "-m", "mmpr_pipeline.cli", *words]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_a_foreign_strategy_and_checker_make_pairs_and_stand_in_the_identity(site: Path, tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=6)
    config = tmp_path / "build.yaml"
    out = tmp_path / "out"
    settings = {"sources": [str(source)], "out": str(out), "shards": 1, "engine": {"name": "scripted"}, "workers": 1}
    config.write_text(json.dumps({**settings, "pairing": {"strategies": ["longest"]}}))
    done = mmpr(site, "build", str(config), "--no-decontaminate")
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["counts"]["pairs"].keys() == {"longest"}
    identity = json.loads((out / "config.json").read_text())["identity"]
    assert identity["plugins"] == {"strategies": {"longest": "mmpr-foreign 1.2"}}
    assert "text=mmpr-foreign 1.2" in identity["checker"]
    assert mmpr(site, "verify", str(out)).returncode == 0
    (out / "summary.json").unlink()
    [info] = site.glob("mmpr_foreign-*.dist-info")
    metadata = info / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.2", "Version: 1.3"))
    again = mmpr(site, "build", str(config), "--no-decontaminate")
    assert again.returncode == 1
    assert "mmpr-foreign 1.3" in again.stdout + again.stderr


def test_without_the_distribution_its_name_is_unknown(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=2)
    config = tmp_path / "build.yaml"
    settings = {"sources": [str(source)], "out": str(tmp_path / "out"), "engine": {"name": "scripted"}}
    config.write_text(json.dumps({**settings, "pairing": {"strategies": ["longest"]}}))
    done = mmpr(Path(), "build", str(config))
    assert done.returncode == 1
    assert "no pairing strategy 'longest'" in done.stdout + done.stderr
