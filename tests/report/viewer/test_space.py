from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from mmpr_pipeline.core.errors import HubError
from mmpr_pipeline.report.viewer.space import publish_viewer


class FakeHub:
    """Stands for the Hub's client; the loopback Hub of these tests speaks no Spaces."""

    token = "hf_secret1234"
    made: dict[str, Any] = {}
    refuses = False

    def create_repo(self, name: str, **more: Any) -> None:
        if self.refuses:
            raise ValueError("403 Forbidden for hf_secret1234")
        FakeHub.made = {"name": name, **more}

    def upload_folder(self, *, folder_path: Path, repo_id: str, **more: Any) -> None:
        files = {path.relative_to(folder_path).as_posix() for path in folder_path.rglob("*") if path.is_file()}
        FakeHub.made |= {"files": files, "repo_id": repo_id, **more}


def test_the_viewer_becomes_a_static_space(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    assert publish_viewer(out, "org/pairs-viewer") == "https://hub.example/spaces/org/pairs-viewer"
    made = FakeHub.made
    assert (made["name"], made["repo_type"], made["space_sdk"], made["private"]) == (
        "org/pairs-viewer", "space", "static", True,
    )  # fmt: skip
    assert {"index.html", "README.md", "data/index.bin", "static/viewer/bundled.js"} <= made["files"]


def test_a_refusal_is_explained_without_the_token(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setattr(FakeHub, "refuses", True)
    with pytest.raises(HubError, match="did not take the Space") as refused:
        publish_viewer(out, "org/pairs-viewer")
    assert "secret" not in str(refused.value)
