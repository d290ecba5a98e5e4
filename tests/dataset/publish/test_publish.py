"""Publishing to the test Hub, with everything that can go wrong on the way."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, DatasetError, HubError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.publish import run as publishing
from mmpr_pipeline.dataset.publish.parts import CARD, NOTE
from mmpr_pipeline.dataset.publish.run import Publication, publication_table, publish
from tests.dataset.built import build_made
from tests.hub.faults import Fault
from tests.hub.repository import Blob, Repository
from tests.hub.server import HubServer

TOKEN = "hf_VerySecretTokenOfTheTests"
NAME = "me/pairs"
SHARDS = 4


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_made(tmp_path_factory.mktemp("made"), shards=SHARDS)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    server.tokens = {TOKEN: "write", "hf_reader": "read"}
    yield server
    server.close()


@pytest.fixture
def waits(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """Publishing in this process goes to the test Hub; instead of waiting, the seconds are noted here."""
    from huggingface_hub import constants

    noted: list[float] = []
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(time, "sleep", noted.append)
    return noted


def titles(hub: HubServer, branch: str = "main") -> list[str]:
    """Titles of our commits, oldest first."""
    history = hub.repositories[NAME].history(branch)
    return [commit.title for commit in reversed(history) if commit.title != "initial commit"]


def files(hub: HubServer, branch: str = "main") -> dict[str, Blob]:
    return hub.repositories[NAME].head(branch).files


def test_all_goes_in_one_commit_and_publishing_again_changes_nothing(
    hub: HubServer, waits: list[float], out: Path
) -> None:
    first = publish(out, NAME)
    paths = [f"data/train-{i:05d}-of-{SHARDS:05d}.parquet" for i in range(SHARDS)]
    assert sorted(files(hub)) == [".gitattributes", CARD, *paths, NOTE]
    assert all(files(hub)[path].lfs for path in paths)
    assert first.files == {path: len(files(hub)[path].data) for path in paths}
    assert (first.uploaded, first.commits, first.commit) == (SHARDS, 1, hub.repositories[NAME].head().sha)
    assert hub.repositories[NAME].private
    assert files(hub)[CARD].data.decode() == first.card
    hub.paths.clear()
    again = publish(out, NAME)
    assert (again.uploaded, again.commits, again.commit) == (0, 0, first.commit)
    assert not [request for request in hub.paths if "commit/" in request or "PUT" in request or "lfs" in request]
    assert len(titles(hub)) == 1
    assert not waits


def test_a_public_data_set_on_a_branch_in_fewer_files(hub: HubServer, waits: list[float], out: Path) -> None:
    found = publish(out, NAME, private=False, revision="v2", files=2)
    assert not hub.repositories[NAME].private
    assert titles(hub) == []
    assert len(titles(hub, "v2")) == 1
    assert list(found.files) == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert found.url.endswith("/datasets/me/pairs/tree/v2")


def test_files_of_an_earlier_publication_go_and_an_edited_card_stays(
    hub: HubServer, waits: list[float], out: Path
) -> None:
    publish(out, NAME)
    hub.repositories[NAME].put({CARD: b"---\nlicense: mit\n---\nMy own words.\n"}, "edit")
    publish(out, NAME, files=1)
    assert sorted(files(hub)) == [".gitattributes", CARD, "data/train-00000-of-00001.parquet", NOTE]
    assert files(hub)[CARD].data.endswith(b"My own words.\n")
    assert publish(out, NAME, files=1).commits == 0


def test_what_someone_else_put_there_is_left_alone(hub: HubServer, waits: list[float], out: Path) -> None:
    publish(out, NAME)
    hub.repositories[NAME].put({"theirs.csv": b"a,b"}, "theirs")
    with pytest.raises(HubError, match=r"theirs\.csv"):
        publish(out, NAME, files=1)
    assert titles(hub)[-1] == "theirs"


def test_large_files_go_in_parts_where_the_hub_asks_for_it(hub: HubServer, waits: list[float], out: Path) -> None:
    hub.part_bytes = 10_000
    found = publish(out, NAME)
    assert sum("/part/" in request for request in hub.paths) >= 2 * SHARDS
    assert found.files == {path: len(files(hub)[path].data) for path in found.files}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST /api/repos/create", 503),
        Fault("GET .*/revision/", 502),
        Fault("GET .*/tree/"),
        Fault("POST .*/preupload/", 500),
        Fault("POST .*/lfs/objects/batch", 503),
        Fault("PUT /lfs", 500),
        Fault("PUT /lfs"),
        Fault("PUT /lfs", served=True),
        Fault("POST .*/commit/", 503),
        Fault("POST .*/commit/"),
        Fault("POST .*/commit/", served=True),
        Fault("POST .*/commit/", 504, served=True),
        Fault("POST .*/paths-info/", 500),
    ],
    ids=lambda fault: f"{fault.where}-{fault.status or 'cut'}{'-served' if fault.served else ''}",
)
def test_a_fault_is_tried_again_and_no_commit_is_made_twice(
    fault: Fault, hub: HubServer, waits: list[float], out: Path
) -> None:
    fault.times = 1
    hub.faults.add(fault)
    found = publish(out, NAME)
    assert hub.faults.left == 0, "the fault came about"
    assert found.commits == len(titles(hub)) == 1
    assert found.commit == hub.repositories[NAME].head().sha


def test_too_many_requests_are_waited_out_as_long_as_the_hub_says(
    hub: HubServer, waits: list[float], out: Path
) -> None:
    for headers in ({"Retry-After": "1800"}, {"RateLimit": '"commits";r=0;t=900'}, {}):
        hub.faults.add(Fault("POST .*/commit/", 429, headers=headers))
    steps: list[str] = []
    assert publish(out, NAME, progress=lambda what, done, of: steps.append(what)).commits == 1
    assert [round(seconds) for seconds in waits[:2]] == [1801, 901]
    assert [240 <= seconds <= 480 for seconds in waits[2:]] == [True], "minutes, twice as many each time"
    assert steps.count("waiting 1801 s for the Hub") == 1


def test_a_change_in_between_is_built_upon(hub: HubServer, waits: list[float], out: Path) -> None:
    def meanwhile() -> None:
        hub.repositories[NAME].put({".gitattributes": b"# changed\n"}, "meanwhile")

    hub.faults.add(Fault("POST .*/commit/", before=meanwhile, only_before=True))
    publish(out, NAME)
    assert titles(hub) == ["meanwhile", titles(hub)[-1]]
    assert files(hub)[".gitattributes"].data == b"# changed\n"


def test_a_hub_that_stays_broken_is_told_and_the_next_run_goes_on(
    hub: HubServer, waits: list[float], out: Path
) -> None:
    hub.faults.add(Fault("POST .*/commit/", 503, times=1000))
    with pytest.raises(HubError, match=r"committing failed.*\n.*goes on"):
        publish(out, NAME)
    hub.faults.clear()
    sent = list(hub.received)
    found = publish(out, NAME)
    assert found.commits == len(titles(hub)) == 1
    assert hub.received == sent, "what was uploaded without a commit is not sent again"


def test_what_arrives_changed_is_noticed(hub: HubServer, waits: list[float], out: Path) -> None:
    path = f"data/train-00001-of-{SHARDS:05d}.parquet"

    def tamper() -> None:
        files(hub)[path] = Blob(b"other bytes", lfs=True)

    hub.faults.add(Fault("POST .*/paths-info/", before=tamper, only_before=True))
    with pytest.raises(HubError, match=f"{path} is not on the Hub as it was sent"):
        publish(out, NAME)
    assert publish(out, NAME).uploaded == 1
    assert publish(out, NAME).commits == 0


@pytest.mark.parametrize(
    ("where", "status", "remedy"),
    [
        ("POST /api/repos/create", 401, "hf auth login"),
        ("POST .*/preupload/", 401, "hf auth login"),
        ("POST .*/lfs/objects/batch", 403, "may write"),
        ("POST .*/commit/", 403, "may write"),
        ("POST .*/commit/", 400, "says why"),
        ("PUT /lfs", 403, "may write"),
    ],
)
def test_a_refusal_is_explained_without_the_token(
    where: str, status: int, remedy: str, hub: HubServer, waits: list[float], out: Path,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    hub.faults.add(Fault(where, status, times=100, body="Refused for {authorization} and hf_SomeOtherToken"))
    with pytest.raises(HubError) as caught:
        publish(out, NAME)
    assert remedy in (caught.value.remedy or "")
    assert "Refused for" in str(caught.value)
    said = "".join([str(caught.value), repr(caught.value), caplog.text, *capfd.readouterr()])
    assert TOKEN not in said
    assert "hf_SomeOtherToken" not in str(caught.value)
    assert not waits, "a refusal is not tried again"


def test_a_token_that_may_only_read_and_none_at_all(
    hub: HubServer, waits: list[float], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(HubError, match="rights"):
        publish(out, NAME)
    monkeypatch.delenv("HF_TOKEN")
    hub.paths.clear()
    with pytest.raises(HubError, match="No Hub token"):
        publish(out, NAME)
    assert not hub.paths


def test_a_dry_run_sends_nothing_and_tells_about_what_would_go(
    hub: HubServer, waits: list[float], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.delenv("HF_TOKEN")
    plan = publish(out, NAME, dry_run=True)
    assert not hub.paths
    assert plan.commit is None
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    real = publish(out, NAME)
    assert plan.files.keys() == real.files.keys()
    assert plan.bytes == pytest.approx(real.bytes, rel=0.25)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(publication_table(plan))
    text = console.export_text()
    assert "dry run" in text
    assert f"about {plan.bytes / 1000:,.1f} kB" in text


def test_wrong_names_numbers_and_unfinished_outputs_stop_before_anything(
    hub: HubServer, waits: list[float], out: Path, tmp_path: Path
) -> None:
    for name in ("pairs", "a/b/c", "../x", "me/"):
        with pytest.raises(ConfigError, match="not a name"):
            publish(out, name)
    with pytest.raises(ConfigError, match="5 files"):
        publish(out, NAME, files=5)
    with pytest.raises(DatasetError):
        publish(tmp_path, NAME)
    assert not hub.paths


def test_many_files_take_several_commits(
    hub: HubServer, waits: list[float], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "COMMIT_FILES", 2)
    steps: list[tuple[str, int, int]] = []
    found = publish(out, NAME, progress=lambda *step: steps.append(step))
    assert titles(hub)[0] == "Pairs, 2 of 4 files"
    assert found.commits == len(titles(hub)) == 2
    assert [done for what, done, of in steps if what == "uploading"] == [0, 1, 2, 3, 4]


def test_a_damaged_shard_is_not_published(hub: HubServer, waits: list[float], out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    path = tmp_path / "out" / layout.shard_key("images", 2, SHARDS)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"images-00002-of-00004\.arrow is not what its manifest says"):
        publish(tmp_path / "out", NAME)
    assert titles(hub) == []


def test_a_repository_without_large_files_is_refused(
    hub: HubServer, waits: list[float], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repository, "large", lambda self, path: False)
    with pytest.raises(HubError, match=r"\.gitattributes"):
        publish(out, NAME)
    assert titles(hub) == []


CLIENT = """
import json, sys
import mmpr_pipeline.dataset.publish.run as publishing
publishing.COMMIT_FILES = 1
found = publishing.publish(sys.argv[1], "me/pairs")
print(json.dumps([found.uploaded, found.commits, found.commit]))
"""

LOADER = """
import sys
import numpy as np
from datasets import load_dataset
from mmpr_pipeline import load

def same(one, other):
    assert {k: v for k, v in one.items() if k != "images"} == {k: v for k, v in other.items() if k != "images"}
    for a, b in zip(one["images"], other["images"], strict=True):
        assert a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))

ours = load(sys.argv[1])
plain = load_dataset("me/pairs", split="train")
streamed = load_dataset("me/pairs", split="train", streaming=True)
assert plain.features == streamed.features == ours.features
rows = 0
for one, two, three in zip(ours, plain, streamed, strict=True):
    same(one, two), same(one, three)
    rows += 1
print("rows", rows)
"""


def client(hub: HubServer, code: str, out: Path, home: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "MMPR_CACHE": str(home / "mmpr"),
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", code, str(out)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> str:
    said, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors[-3000:]
    return said


@pytest.mark.slow
def test_it_is_loaded_back_row_for_row_plain_and_streamed(
    hub: HubServer, waits: list[float], out: Path, tmp_path: Path
) -> None:
    found = publish(out, NAME)
    assert finished(client(hub, LOADER, out, tmp_path)).strip() == f"rows {found.rows}"
    assert any(request.startswith("GET /cdn/") for request in hub.paths)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "skip", "served"),
    [
        pytest.param("PUT /lfs", 2, False, id="in-an-upload"),
        pytest.param("POST .*/commit/", 1, False, id="before-a-commit", marks=pytest.mark.campaign),
        pytest.param("POST .*/commit/", 1, True, id="right-after-a-commit", marks=pytest.mark.campaign),
        pytest.param("POST .*/commit/", 3, True, id="right-after-the-last-commit"),
    ],
)
def test_killed_in_the_middle_it_goes_on_without_a_second_commit(
    where: str, skip: int, served: bool, hub: HubServer, out: Path, tmp_path: Path
) -> None:
    running: list[subprocess.Popen[str]] = []
    kill: dict[str, Any] = {"before": lambda: running[0].send_signal(signal.SIGKILL)}
    hub.faults.add(Fault(where, skip=skip, served=served, **kill))
    running.append(client(hub, CLIENT, out, tmp_path))
    running[0].communicate(timeout=280)
    assert running[0].returncode == -signal.SIGKILL
    before = titles(hub)
    assert len(before) == {"PUT /lfs": skip, "POST .*/commit/": skip + served}[where]
    uploaded, commits, commit = json.loads(finished(client(hub, CLIENT, out, tmp_path)))
    assert titles(hub)[: len(before)] == before
    assert len(titles(hub)) == len(set(titles(hub))) == SHARDS == len(before) + commits
    assert commit == hub.repositories[NAME].head().sha
    assert len(hub.received) == len(set(hub.received)) == SHARDS, "each file came in once"
    assert uploaded <= SHARDS - len(before)


def test_the_record_of_a_publication_is_plain(hub: HubServer, waits: list[float], out: Path) -> None:
    found: Publication = publish(out, NAME)
    note = json.loads(files(hub)[NOTE].data)
    assert set(note["files"]) == set(found.files)
    assert note["card"] == files(hub)[CARD].oid
    assert str(out) not in files(hub)[NOTE].data.decode() + found.card, "no path of this machine is published"
