"""A distribution that this package knows nothing of brings one of each kind, used from the command by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def another_version(site: Path) -> Iterator[None]:
    """As if 1.3 of the distribution were installed."""
    [info] = site.glob("mmpr_foreign-*.dist-info")
    metadata = info / "METADATA"
    before = metadata.read_text()
    metadata.write_text(before.replace("Version: 1.2", "Version: 1.3"))
    try:
        yield
    finally:
        metadata.write_text(before)


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
    with another_version(site):
        again = mmpr(site, "build", str(config), "--no-decontaminate")
    assert again.returncode == 1
    assert "mmpr-foreign 1.3" in again.stdout + again.stderr


def test_a_foreign_engine_is_used_by_name_and_stands_in_the_identity(site: Path, tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=4)
    out = tmp_path / "out"
    flags = ("--engine", "counting", "--shards", "1", "--workers", "1", "--no-decontaminate", "--samples", "4")
    done = mmpr(site, "build", "--sources", str(source), "--out", str(out), *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((out / "summary.json").read_text())["counts"]["pairs"]["correctness"] > 0
    assert json.loads((out / "config.json").read_text())["identity"]["engine"]["origin"] == "mmpr-foreign 1.2"
    (out / "summary.json").unlink()
    with another_version(site):
        again = mmpr(site, "build", "--sources", str(source), "--out", str(out), *flags)
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


def test_a_foreign_source_export_format_and_store_are_used_by_name(site: Path, tmp_path: Path) -> None:
    out, dest = tmp_path / "out", tmp_path / "lines"
    url = f"shelf://{out}"
    flags = ("--engine", "scripted", "--shards", "1", "--workers", "1", "--no-decontaminate")
    done = mmpr(site, "build", "--sources", "riddles", "--out", url, *flags)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["counts"]["questions"] == 6
    identity = json.loads((out / "config.json").read_text())["identity"]
    assert identity["plugins"] == {"sources": {"riddles": "mmpr-foreign 1.2"}}
    done = mmpr(site, "export", url, "--to", "lines", "--dest", str(dest))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (dest / "shards.txt").read_text() == "1\n"
    assert (dest / "README.md").read_text() == "Read lines/shards.txt."
    unknown = mmpr(Path(), "export", str(out), "--to", "lines", "--dest", str(tmp_path / "other"))
    assert "no export format 'lines'" in unknown.stdout + unknown.stderr


def test_the_version_of_a_foreign_row_format_is_part_of_its_rows_identity(site: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.questions").write_text("What is 1 + 1?|2\nWhat is 2 + 2?|4\n")
    declared = {"name": "sums", "description": "d", "files": "rows.questions", "kind": "number", "text_only": True}
    columns = {"question": "question", "answer": "answer"}
    (tmp_path / "sums.yaml").write_text(json.dumps({**declared, "columns": columns}))
    code = (
        "import sys; from mmpr_pipeline.sources import open_source; source = open_source(sys.argv[1]);"
        "index = source.index(); print(index.fingerprint, *(q.answer for q in source.read(index, 0, 2)))"
    )

    def rows() -> list[str]:
        path = os.pathsep.join([str(site), str(Path(__file__).parents[2])])
        command = [sys.executable, "-c", code, str(tmp_path / "sums.yaml")]
        found = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return found.stdout.split()

    before = rows()
    assert before[1:] == ["2", "4"]
    with another_version(site):
        assert rows()[0] != before[0]


def test_a_foreign_loss_family_and_benchmark_are_known_by_name_and_version(site: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from mmpr_pipeline.training.objective.loss import LOSSES, needs_reference, recipe\n"
        "from mmpr_pipeline.training.policy.families.family import FAMILIES\n"
        "from mmpr_pipeline.training.policy.load import ModelFolder\n"
        "from mmpr_pipeline.training.run.run_folder import identity\n"
        "from mmpr_pipeline.training.settings import TrainConfig\n"
        "from mmpr_pipeline.evaluation.benchmarks.catalog import benchmark_origin, find\n"
        "assert recipe('half+sft') == {'half': 1.0, 'sft': 1.0}\n"
        "assert not needs_reference(recipe('half')) and needs_reference({'half': 1.0, 'dpo': 1.0})\n"
        "config = TrainConfig(data='out', model='m', loss='half+sft')\n"
        "print(identity(config, ModelFolder(Path(), 'm', None, 'made_up_vl'), 'd')['plugins'])\n"
        "print(FAMILIES.get('made_up_vl').__name__, [b.title for b in find(['sums'])], benchmark_origin('sums'))\n"
    )
    path = os.pathsep.join([str(site), str(Path(__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": path}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    plugins, names = found.stdout.splitlines()
    assert plugins == "{'losses': {'half': 'mmpr-foreign 1.2'}, 'families': {'made_up_vl': 'mmpr-foreign 1.2'}}"
    assert names == "Family ['Sums'] {'sums': 'mmpr-foreign 1.2'}"
