"""A build goes on over a damaged file, with the same bytes, or names the file and what to do; never a traceback."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, DatasetError, MmprError, StoreError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.watch.status import read_status
from mmpr_pipeline.screening import DROPPED, REPORT, STATUS
from mmpr_pipeline.storage import open_store
from tests.chaos.inline import Inline, Stopped
from tests.pipeline.made import files_of, make_source

DAMAGE = [lambda raw: b"", lambda raw: raw[: len(raw) // 2], lambda raw: b"{}", lambda raw: raw.replace(b"e", b"f", 1)]


def go_on(settings: dict[str, Any], **stops: int) -> list[str]:
    """What the run said."""
    run = Inline(settings, **stops)
    with suppress(Stopped):
        asyncio.run(run.run())
    return run.said


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    source = make_source(tmp_path / "source", questions=30, open_ended=5)
    given = {"sources": [str(source)], "out": str(tmp_path / "out"), "shards": 2, "engine.name": "scripted"}
    return {**given, "in_flight": 2, "sampling.samples": 4, "screening.decontaminate": False}


@pytest.fixture
def whole(settings: dict[str, Any], tmp_path: Path) -> dict[str, bytes]:
    """Files of the build to which nothing happens."""
    go_on({**settings, "out": str(tmp_path / "whole")})
    return files_of(tmp_path / "whole")


def damage(path: Path, number: int) -> None:
    path.write_bytes(DAMAGE[number](path.read_bytes()))


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_screening_that_is_damaged_is_done_again(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    go_on(settings, requests=5)
    for key in layout.SCREENED:
        damage(out / key, number)
        said = go_on(settings, requests=0)
        assert any("screening again" in word for word in said), (key, said)
        (out / key).unlink()
        go_on(settings, requests=0)
    go_on(settings)
    assert files_of(out) == whole
    assert verify(out).problems == []


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_damaged_pieces_are_looked_at_again(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmpr_pipeline.screening.chunks.ROWS", 5)
    out = tmp_path / "out"
    go_on(settings, pieces=4)
    pieces = sorted((out / "screening/pieces/keys").iterdir())
    assert len(pieces) == 4
    damage(pieces[0], number)
    pieces[1].write_bytes(pieces[2].read_bytes())
    go_on(settings)
    assert files_of(out) == whole


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_damaged_settings_are_written_anew_only_where_a_shard_tells_that_they_are_the_same(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    go_on(settings)
    config = (out / layout.CONFIG).read_bytes()
    (out / layout.shard_key("manifest", 1, 2)).unlink()
    damage(out / layout.CONFIG, number)
    with pytest.raises(ConfigError, match=r"config\.json is gone or damaged(?s:.)*What to do: Give the settings"):
        go_on({**settings, "seed": 7})
    with pytest.raises(DatasetError, match=r"config\.json is damaged(?s:.)*What to do"):
        read_status(open_store(out))
    go_on(settings)
    assert (out / layout.CONFIG).read_bytes() == config
    assert files_of(out) == whole
    assert verify(out).problems == []


def test_damaged_settings_of_a_build_without_a_finished_shard(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path
) -> None:
    go_on(settings, requests=5)
    damage(tmp_path / "out" / layout.CONFIG, 1)
    with pytest.raises(ConfigError, match=r"config\.json is gone or damaged(?s:.)*bring the file back from a copy"):
        go_on({**settings, "seed": 7})
    go_on(settings)  # what was decided of the rows tells by whom
    assert files_of(tmp_path / "out") == whole


def test_damaged_settings_of_a_build_that_screens_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["shards"] = 1
    go_on(settings, requests=5)
    damage(tmp_path / "out" / layout.CONFIG, 1)
    with pytest.raises(ConfigError, match=r"config\.json is gone or damaged(?s:.)*bring the file back from a copy"):
        go_on(settings)


def test_damaged_settings_before_anything_was_sampled_cost_nothing(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path
) -> None:
    go_on(settings, requests=0)
    shutil.rmtree(tmp_path / "out" / "journal")
    damage(tmp_path / "out" / layout.CONFIG, 1)
    go_on(settings)
    assert files_of(tmp_path / "out") == whole


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_damaged_summary_is_written_anew(settings: dict[str, Any], tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    go_on(settings)
    damage(out / layout.SUMMARY, number)
    for reader in (facts_of, lambda out: read_status(open_store(out))):
        with pytest.raises(DatasetError, match=r"summary\.json is damaged(?s:.)*What to do: Run the same"):
            reader(out)
    go_on(settings)
    assert verify(out).problems == []


@pytest.mark.parametrize("key", [layout.CONFIG, STATUS, DROPPED, REPORT])
def test_a_finished_output_whose_other_files_are_damaged_is_not_called_finished(
    settings: dict[str, Any], tmp_path: Path, key: str
) -> None:
    out = tmp_path / "out"
    go_on(settings)
    raw = (out / key).read_bytes()
    (out / key).write_bytes(raw[:-3] + b"\0" + raw[-2:])
    assert {problem.where for problem in verify(out).problems} == {key}
    if key == layout.CONFIG:
        go_on(settings)  # its shards tell that the settings are the same
        assert verify(out).problems == []
    else:
        with pytest.raises(DatasetError, match=rf"{key} is gone or damaged(?s:.)*What to do: Bring it back"):
            go_on(settings)


def test_a_finished_output_that_lacks_a_file_is_not_called_finished(settings: dict[str, Any], tmp_path: Path) -> None:
    go_on(settings)
    (tmp_path / "out" / layout.shard_key("images", 1, 2)).unlink()
    with pytest.raises(DatasetError, match=r"images-00001-of-00002\.arrow is gone(?s:.)*delete the manifest"):
        go_on(settings)
    (tmp_path / "out" / layout.shard_key("manifest", 1, 2)).unlink()
    go_on(settings)
    assert verify(tmp_path / "out").problems == []


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_damaged_manifest_is_named_and_its_shard_can_be_made_anew(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    go_on(settings)
    for key in (layout.shard_key("manifest", 0, 2), layout.shard_key("manifest", 1, 2)):
        damage(out / key, number)
    (out / layout.SUMMARY).unlink()
    with pytest.raises(DatasetError, match=r"manifests/00000-of-00002\.json (?s:.)*delete it and run the same"):
        go_on(settings)
    for key in (layout.shard_key("manifest", 0, 2), layout.shard_key("manifest", 1, 2)):
        (out / key).unlink()
    go_on(settings)
    assert files_of(out) == whole


def test_a_worker_that_is_killed_on_the_way_leaves_nothing_in_the_finished_output(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    left = tmp_path / "out" / ".unfinished-of-a-killed-worker"

    class WithAKill(Inline):
        async def _make(self, *args: Any) -> None:
            (tmp_path / "out" / ".progress.json").write_text("{}")
            left.mkdir()
            (left / "pairs").write_bytes(b"half a file")
            await super()._make(*args)

    asyncio.run(WithAKill(settings).run())
    assert not left.exists()
    assert not (tmp_path / "out" / ".progress.json").exists()
    assert verify(tmp_path / "out").problems == []


def test_a_picture_or_an_answer_that_changes_between_two_runs_is_noticed(
    settings: dict[str, Any], whole: dict[str, bytes], tmp_path: Path
) -> None:
    picture, rows = tmp_path / "source" / "3.png", tmp_path / "source" / "rows.jsonl"
    go_on(settings, requests=5)
    for damaged, raw in ((picture, picture.read_bytes()), (rows, rows.read_bytes())):
        damaged.write_bytes(raw[:-30] + bytes(30))
        with pytest.raises(MmprError, match=r"of made, or their images, are not what they were|begun with other"):
            go_on(settings)
        status = (tmp_path / "out" / STATUS).read_bytes()
        (tmp_path / "out" / STATUS).unlink()  # what was decided of the rows is lost as well
        for _ in range(2):
            with pytest.raises(MmprError, match=r"or their images, are not what they were|begun with other"):
                go_on(settings)
        (tmp_path / "out" / STATUS).write_bytes(status)
        damaged.write_bytes(raw)
    go_on(settings)
    assert files_of(tmp_path / "out") == whole


def test_no_damage_ends_in_another_error(settings: dict[str, Any], tmp_path: Path) -> None:
    go_on(settings)
    out = tmp_path / "out"
    shutil.copytree(out, tmp_path / "copy")
    for path in sorted((tmp_path / "copy").rglob("*.*")):
        if path.is_file():
            target = out / path.relative_to(tmp_path / "copy")
            for number in range(len(DAMAGE)):
                damage(target, number)
                with suppress(ConfigError, DatasetError, StoreError):
                    go_on(settings)
                target.write_bytes(path.read_bytes())
