"""The viewer as a Space of the test Hub, over its protocol, by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, snapshot_download
from typer.testing import CliRunner

from mmpr_pipeline.cli.app import app
from mmpr_pipeline.core.errors import HubError
from mmpr_pipeline.report.viewer.bundle import publish_viewer, write_bundle
from tests.hub.faults import Fault
from tests.hub.server import HubServer

TOKEN = "hf_VerySecretTokenOfTheTests"
SPACE = "org/pairs-viewer"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    server = HubServer()
    server.tokens = {TOKEN: "write", "hf_reader": "read"}
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield server
    server.close()


def test_publishing_with_the_viewer_makes_a_static_space_beside_the_data_set(
    hub: HubServer, out: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["publish", str(out), "--repo", "org/pairs", "--with-viewer"])
    assert done.exit_code == 0, done.output
    assert f"viewer: {hub.endpoint}/spaces/{SPACE}" in done.output
    assert hub.repositories["org/pairs"].kind == "dataset"
    made = hub.repositories[SPACE]
    assert (made.kind, made.private) == ("space", True)
    assert HfApi(endpoint=hub.endpoint).space_info(SPACE).sdk == "static"
    got = Path(snapshot_download(SPACE, repo_type="space", endpoint=hub.endpoint, local_dir=tmp_path / "got"))
    write_bundle(out, tmp_path / "bundle")
    files = {path.relative_to(tmp_path / "bundle") for path in (tmp_path / "bundle").rglob("*") if path.is_file()}
    assert {Path("index.html"), Path("data/rollouts.parquet"), Path("static/viewer/bundled.js")} <= files
    assert [name for name in files if (got / name).read_bytes() != (tmp_path / "bundle" / name).read_bytes()] == []


def test_the_same_viewer_again_uploads_nothing(hub: HubServer, out: Path, recwarn: pytest.WarningsRecorder) -> None:
    address = publish_viewer(out, SPACE, private=False)
    assert address == f"{hub.endpoint}/spaces/{SPACE}"
    assert not hub.repositories[SPACE].private
    commits, received = len(hub.repositories[SPACE].history()), len(hub.received)
    publish_viewer(out, SPACE)
    assert (len(hub.repositories[SPACE].history()), len(hub.received)) == (commits, received)
    assert not [warning for warning in recwarn if "data file" in str(warning.message)]
    assert not hub.repositories[SPACE].private, "only a new Space is made private"


@pytest.mark.parametrize(("token", "said"), [("hf_reader", "rights"), (TOKEN, "no more")])
def test_a_refusal_is_explained_without_the_token(
    hub: HubServer, out: Path, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.faults.add(Fault("POST /api/spaces/.*/commit/", status=403, body="no more for {authorization}"))
    with pytest.raises(HubError, match="did not take the Space") as refused:
        publish_viewer(out, SPACE)
    assert said in str(refused.value)
    assert token not in str(refused.value)
