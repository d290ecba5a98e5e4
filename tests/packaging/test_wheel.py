"""`pip install` of the wheel alone, into a fresh environment: it is light, it works, and it says what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import mmpr_pipeline as mmpr

ROOT = Path(__file__).resolve().parents[2]
LIGHT = """
import json, sys, urllib.request
import mmpr_pipeline as mmpr

assert "site-packages" in mmpr.__file__, mmpr.__file__
assert mmpr.check("Adding both halves, the area is 0.5.", "1/2").outcome == "correct"
assert mmpr.check("It must be (B).", "C", choices=["4 m", "5 m", "6 m"]).outcome == "incorrect"
pairs = mmpr.load(sys.argv[1])
assert pairs[0]["images"][0].size == (16, 12) and pairs[0]["chosen"], pairs[0]
told = {}
for name, call in {
    "build": lambda: mmpr.build("nano_grid", out="new"),
    "rebuild": lambda: mmpr.rebuild(sys.argv[1], out="new"),
    "train": lambda: mmpr.train(sys.argv[1], model="nano", run_dir="run"),
    "evaluate": lambda: mmpr.evaluate("nano", ["nano_grid"]),
}.items():
    try:
        call()
    except ImportError as error:
        told[name] = error.remedy
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment that holds the wheel and its base dependencies."""
    folder = tmp_path_factory.mktemp("light")
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder / "dist"),
    ]
    subprocess.run([*wheel, str(ROOT)], check=True)
    venv.create(folder / "venv", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv"), "install", "-q", "--no-compile"]
    # Without the checkout on the path: pip would take it for an installation.
    wheels = map(str, (folder / "dist").glob("*.whl"))
    subprocess.run([*pip, *wheels], check=True, cwd=folder, env=without_the_checkout())
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output, made in this process."""
    import PIL.Image

    picture = PIL.Image.new("RGB", (16, 12), (200, 30, 90))
    asked = [mmpr.question(f"How many dots are in picture {i}?", picture, answer=i) for i in range(3)]
    out = tmp_path_factory.mktemp("built") / "pairs"
    mmpr.build(
        mmpr.Source.from_iterable("dots", asked), out=out, engine={"name": "scripted", "script": {"extremes": 0.3}},
        shards=1, sampling={"samples": 8}, screening={"decontaminate": False},
    )  # fmt: skip
    return out


def without_the_checkout() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.campaign
def test_a_light_install_works_and_says_what_to_install(light: Path, output: Path, tmp_path: Path) -> None:
    environment = {**without_the_checkout(), "MMPR_CACHE": str(tmp_path / "cache")}

    def said(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    done = said(str(light / "python"), "-c", LIGHT, str(output))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "build": "Run `pip install 'mmpr-pipeline[build]'`.",
        "rebuild": "Run `pip install 'mmpr-pipeline[build]'`.",
        "train": "Run `pip install 'mmpr-pipeline[train]'`.",
        "evaluate": "Run `pip install 'mmpr-pipeline[build]'`.",
    }
    for words, extra in {
        "build --sources nano_grid --out new": "build",
        "train pairs --run-dir run": "train",
        "eval nano --sources nano_grid": "build",
        "engine-check nano": "build",
        f"verify s3://nothing/{output.name}": "s3",
    }.items():
        refused = said(str(light / "mmpr"), *words.split())
        assert (refused.returncode, refused.stdout) == (1, ""), (words, refused)
        assert f"pip install 'mmpr-pipeline[{extra}]'" in refused.stderr, words
        assert "Traceback" not in refused.stderr
    for words in ("--version", f"verify {output}", f"stats {output}", f"show {output}", "sources list"):
        done = said(str(light / "mmpr"), *words.split())
        assert done.returncode == 0, (words, done.stderr)
    done = said(str(light / "python"), "-c", SERVES, str(output))
    assert done.returncode == 0, done.stderr


SERVES = """
import subprocess, sys, time, re, urllib.request
process = subprocess.Popen(
    [sys.executable, "-m", "mmpr_pipeline.cli", "view", sys.argv[1]],
    stdout=subprocess.PIPE, text=True,
)
try:
    for line in process.stdout:
        if found := re.search(r"http://\\S+", line):
            page = urllib.request.urlopen(found[0], timeout=20).read().decode()
            assert "mmpr" in page
            break
    else:
        raise SystemExit("view said no address")
finally:
    process.terminate()
    process.wait(20)
"""
