"""`mmpr build --sources geoqa,mathvista --shards 512`, these words and no others, on a machine without a GPU.

The embedded model stands in there: the build is a rehearsal, and says so wherever its output is looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.publish.run import publish
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.report.pages.figures import report_figures
from mmpr_pipeline.training.run.launch import with_policy
from mmpr_pipeline.training.settings import load_train_config
from tests.hub.served import serve

pytestmark = pytest.mark.slow  # one build with vLLM on Ray

ROWS = {"geoqa": 6, "mathvista": 3}
SHARDS = 512
WORDS = ["build", "--sources", "geoqa,mathvista", "--shards", str(SHARDS)]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output of those words, typed in an empty folder, and what the terminal said."""
    home = tmp_path_factory.mktemp("home")
    hub = serve(ROWS)
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "MMPR_CACHE": str(home / "mmpr"),
        "HF_HUB_DISABLE_XET": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200",
    }  # fmt: skip
    command = [sys.executable, "-m", "mmpr_pipeline.cli", *WORDS]
    try:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=420)
    finally:
        hub.close()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return home / "out" / "geoqa-mathvista", done.stdout


def test_it_ends_in_512_valid_shards_where_it_says(typed: tuple[Path, str]) -> None:
    out, said = typed
    assert "Output: out/geoqa-mathvista" in said
    found = verify(out)
    assert (found.problems, found.shards) == ([], SHARDS)
    counts = json.loads((out / layout.SUMMARY).read_text())["sources"]
    assert {source: counts[source]["questions"] for source in counts} == ROWS


def test_it_is_a_rehearsal_wherever_one_looks(typed: tuple[Path, str]) -> None:
    out, said = typed
    assert said.startswith("Rehearsal: made with the embedded toy model nano")
    assert "InternVL3-2B-hf" in said.splitlines()[1] + said.splitlines()[0], "models that could be used instead"
    summary = json.loads((out / layout.SUMMARY).read_text())
    assert summary["rehearsal"] is True
    assert "rehearsal" in summary["warnings"][0]
    assert json.loads((out / layout.shard_key("manifest", 0, SHARDS)).read_text())["rehearsal"] is True
    assert "rehearsal" in report_figures(out)["warnings"][0]
    assert facts_of(out).warnings[0].startswith("This is a rehearsal"), "the card's first warning"


def test_it_is_published_and_trained_on_only_if_allowed(typed: tuple[Path, str]) -> None:
    out, _ = typed
    with pytest.raises(ConfigError, match="--allow-rehearsal"):
        publish(out, "me/pairs")
    other = load_train_config(None, {"data": str(out), "model": "org/real"})
    with pytest.raises(ConfigError, match="--allow-rehearsal"):
        with_policy(other)
    assert with_policy(other.model_copy(update={"allow_rehearsal": True})).model == "org/real"
    assert with_policy(load_train_config(None, {"data": str(out)})).model == "nano", "which made the pairs"
