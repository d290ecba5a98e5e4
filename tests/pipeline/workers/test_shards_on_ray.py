"""Builds through real Ray, with the scripted engine in workers and in actors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, MmprError, SourceError, StoreError
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.driver import run_build
from tests.cluster.sessions import local_ray
from tests.pipeline.made import files_of, make_source


class Silent:
    """A view that keeps what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.missing = -1

    def stage(self, text: str, done: int = 0, of: int = 0, /) -> None:
        self.stages.append(text)

    def planned(self, plan: Any, missing: int) -> None:
        self.missing = missing

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray(4):
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path / "source", questions=40, open_ended=8)


def build(source: Path, out: Path, view: Silent | None = None, **settings: Any) -> BuildSummary:
    given = {"sources": [str(source)], "out": str(out), "shards": 5, "engine.name": "scripted", **settings}
    return run_build(load_config(None, given), view or Silent())


@pytest.fixture(scope="module")
def plain(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary build of rows as `source` has."""
    folder = tmp_path_factory.mktemp("plain")
    build(make_source(folder / "source", questions=40, open_ended=8), folder / "out")
    return folder / "out"


@pytest.mark.usefixtures("cluster")
def test_engines_workers_and_flight_change_no_byte(source: Path, plain: Path, tmp_path: Path) -> None:
    build(source, tmp_path / "actor", **{"engine.actors": 1, "workers": 1, "in_flight": 1})
    build(source, tmp_path / "three", **{"engine.actors": 3, "workers": 4, "engine.script": {"latency": 0.01}})
    expected = files_of(plain)
    assert len(expected) == 25
    assert files_of(tmp_path / "actor") == expected
    assert files_of(tmp_path / "three") == expected


@pytest.mark.usefixtures("cluster")
def test_a_build_sums_up_and_a_second_run_finds_nothing_to_do(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = build(source, out)
    counts = summary["counts"]
    assert counts["questions"] == 48
    assert counts["paired"] + sum(counts["unpaired"].values()) + sum(counts["rejected"].values()) == 48
    assert set(counts["pairs"]) == {"correctness", "dropout_ntp"}
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")}
    view = Silent()
    assert build(source, out, view) == summary
    assert view.missing == 0
    assert "starting Ray" not in view.stages
    assert before == {p: p.stat().st_mtime_ns for p in before}


@pytest.mark.usefixtures("cluster")
def test_a_dying_engine_actor_changes_no_byte(source: Path, plain: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = {"latency": 0.02, "kill_after": 6, "kill_marker": str(tmp_path / "killed"), "log": str(log)}
    build(source, tmp_path / "killed-once", **{"engine.actors": 2, "engine.script": script})
    assert (tmp_path / "killed").exists()
    assert files_of(tmp_path / "killed-once") == files_of(plain)
    repeated = [n for n in Counter(log.read_text().splitlines()).values() if n > 1]
    assert len(repeated) <= 64, "only requests that were in flight on the dead actor are made again"


@pytest.mark.usefixtures("cluster")
def test_a_question_that_kills_its_engine_is_rejected_by_name_and_the_build_goes_on(
    source: Path, tmp_path: Path
) -> None:
    summary = build(source, tmp_path / "out", **{"engine.actors": 2, "engine.script": {"crash_on": ["q7"]}})
    assert summary["counts"]["rejected"] == {"poison": 1}
    assert summary["counts"]["questions"] == 48


@pytest.mark.usefixtures("cluster")
def test_a_refused_question_is_counted(source: Path, tmp_path: Path) -> None:
    summary = build(source, tmp_path / "out", **{"engine.script": {"fail_on": ["q1", "d41"]}})
    assert summary["counts"]["rejected"] == {"prompt_too_long": 2}


@pytest.mark.usefixtures("cluster")
def test_an_engine_that_cannot_start_stops_the_build_with_the_remedy(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MmprError, match="What to do"):
        build(source, tmp_path / "out", **{"engine.name": "vllm", "engine.model": str(tmp_path / "nowhere")})


def test_shards_of_unknown_settings_are_not_touched(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "manifests").mkdir(parents=True)
    (out / "manifests" / "00000-of-00005.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"config\.json is gone"):
        build(source, out)


@pytest.mark.usefixtures("cluster")
def test_other_settings_and_other_rows_are_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(source, out)
    with pytest.raises(ConfigError, match=r"seed: 0 -> 1"):
        build(source, out, seed=1)
    with (source.parent / "rows.jsonl").open("a") as rows:
        rows.write(json.dumps({"id": "new", "question": "How many?", "answer": "1", "kind": "number"}) + "\n")
    with pytest.raises(ConfigError, match=r"sources\.made\.rows: 48 -> 49"):
        build(source, out)


def test_an_output_that_cannot_be_written_stops_before_ray_starts(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    view = Silent()
    with pytest.raises(StoreError, match="What to do"):
        build(source, blocked / "out", view)
    assert view.stages == [], "sources are read for an output that cannot be written"


def test_a_source_without_rows_and_an_unknown_one_stop_at_once(source: Path, tmp_path: Path) -> None:
    (source.parent / "rows.jsonl").write_text("")
    with pytest.raises(SourceError, match="What to do"):
        build(source, tmp_path / "out")
    with pytest.raises(MmprError, match="What to do"):
        build(tmp_path / "nothing.yaml", tmp_path / "out")


@pytest.mark.parametrize("fails", [1, 99])
def test_a_ray_that_does_not_come_up_is_started_again_then_told(fails: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmpr_pipeline.cluster import session as module

    starts: list[str] = []

    def init(**options: Any) -> None:
        starts.append(options["address"])
        if len(starts) <= fails:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(module.ray, "init", init)
    monkeypatch.setattr(module.ray, "shutdown", lambda: None)
    if fails == 1:
        module._connect("local")
    else:
        with pytest.raises(MmprError, match=r"timed out(.|\n)*What to do"):
            module._connect("local")
    assert starts == ["local"] * min(fails + 1, module.RAY_STARTS)
