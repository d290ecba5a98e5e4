"""Commands of README.md and docs/ are run: README's in order, with fewer questions; those of pages on what it built."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli import app
from tests.test_docs import PAGES, ROOT, commands_in

SERVERS = ("view",)
"""Commands that run until they are stopped."""
FEWER = {
    "mmpr build examples/nano.yaml": ["--limit", "12"],
    "mmpr train": ["--max-steps", "4"],
    "mmpr eval": ["--limit", "24"],
}
"""What is put behind the longest commands: the same ways with fewer questions and steps."""
NEEDS = {
    "a model of the Hub": r"OpenGVLab|\bMODEL\b|rlaif_v_pairs|ORG/NAME|MMPR-v1.2",
    "a cluster": r"s3://|--address|--on ray|ray://|--actors|jobs/build.yaml",
    "hours": r"^mmpr study (?!.*--steps)|^mmpr iterate|^mmpr engine-check",
    "the network": r"publish (?!.*--dry-run)|--with-viewer|geoqa,mathvista|preview geoqa"
    r"|screening (?:fetch|fingerprint)",
    "an argument": r"^mmpr( \w+){1,2}$|--benchmarks|[A-Z]{2,}\.jsonl|NAME_OR_FILE"
    r"|^mmpr build --(dry|from|str)\S*( preset)?$",
    "what the page's reader made": r"my_pairs|build\.yaml|puzzlevqa|adversarial|cases\.jsonl|FLAT|my\.yaml|charts\.yaml"
    r"|labels\.csv|before after|out/one|merge A B|scores-|runs/|marks\.jsonl|--sources mmpr",
}
"""Why a command of a page is not run here, and what shows that."""


def blocks(page: Path) -> list[str]:
    """Lines of the shell in README, in order: what is between bare fences and begins with `mmpr`."""
    found = re.findall(r"```([a-z]*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [line for kind, block in found if not kind for line in block.splitlines() if line.startswith("mmpr ")]


def fewer(line: str) -> list[str]:
    """What is put behind a command, see FEWER."""
    return next((more for begin, more in FEWER.items() if line.startswith(begin)), [])


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which README's commands were run one after another, each to its end."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100",
        "PYTHONPATH": str(ROOT), "MMPR_CACHE": str(folder / "cache"), "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    for line in blocks(ROOT / "README.md"):
        words = shlex.split(line) + fewer(line)
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if words[1] in SERVERS:
            assert process.stdout is not None
            assert any("http://" in said for said in process.stdout)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=900)
        assert process.returncode in ((0, 130) if words[1] in SERVERS else (0,)), f"{line}\n{said}"
    return folder


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_commands_of_the_readme_work_one_after_another(walked: Path) -> None:
    assert (walked / "pairs" / "summary.json").is_file()
    assert (walked / "better" / "config.json").is_file()
    assert (walked / "pairs2" / "summary.json").is_file()
    assert any((walked / "for-trl").iterdir())


@pytest.mark.slow
@pytest.mark.campaign  # test_docs.py checks every option of every command
@pytest.mark.timeout(2400)
def test_the_commands_of_the_pages_work(walked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(walked)
    monkeypatch.setenv("MMPR_CACHE", str(walked / "cache"))
    ran, failed, known = 0, [], set[str]()
    for page in PAGES:
        for words in commands_in(page.read_text("utf-8")):
            line = " ".join(words)
            done_by_readme = page.name == "README.md" or words[1:2] in (["train"], ["eval"])
            if (
                line in known
                or done_by_readme
                or words[1] in SERVERS
                or any(re.search(sign, line) for sign in NEEDS.values())
            ):
                continue
            known.add(line)
            put = {
                "OUT": "pairs",
                "out/geoqa-mathvista": "pairs",
                "demo-out": "pairs",
                "trained": "better",
                "NAME": "nano_grid",
                "first": "pairs",
                "OTHER": "pairs2",
            }
            put |= {"NEW": f"new-{ran}", "DIR": f"dir-{ran}"}
            if "diff" in words:
                put["NEW"] = "pairs2"
            result = CliRunner().invoke(app, [*(put.get(word, word) for word in words[1:]), *fewer(line)])
            ran += 1
            if result.exit_code:
                failed.append((page.name, line, result.output[-300:], repr(result.exception)))
    assert not failed
    assert ran >= 12
