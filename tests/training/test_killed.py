"""Killed with -9 while a checkpoint is written behind the training: on a disk, and on a real S3 server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.run.run_folder import read_lines
from tests.conftest import new_bucket
from tests.storage.seaweed import SeaweedServer
from tests.training import made
from tests.training.ranks import run_ranks


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.campaign
def test_killed_while_a_checkpoint_is_written_it_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks; step 2's files are on the way when a rank dies, on S3 between two files, on the disk before the
    rename. The losses are those of the run that nobody killed, and what was half written is gone."""
    server = SeaweedServer(tmp_path / "seaweed")
    server.start()
    try:
        bucket = new_bucket(server.address, monkeypatch, tmp_path)
        model, data = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data")
        kept = {"whole": None, "s3": f"s3://{bucket}/kept", "disk": None}
        settings = {name: tmp_path / f"{name}.json" for name in kept}
        for name, checkpoints in kept.items():
            config = made.settings(model, data, tmp_path / name, checkpoints=checkpoints, dtype="bfloat16")
            settings[name].write_text(config.model_dump_json())
        places = {name: CheckpointPlace(str(tmp_path / name), kept[name]) for name in kept}
        for name, moment in (("s3", "put_file:2"), ("disk", "write:2")):
            assert -signal.SIGKILL in run_ranks([str(settings[name]), "--kill-in", moment], os.environ)
            assert places[name].steps() == [1]
        assert run_ranks([*map(str, settings.values()), "--resume"], os.environ) == [0, 0]
        assert [place.steps() for place in places.values()] == [[3, 4]] * 3
        losses = {name: [line["loss"] for line in read_lines(tmp_path / name / "metrics.jsonl")] for name in kept}
        assert len(losses["whole"]) == 4
        assert losses["s3"] == losses["disk"] == losses["whole"]
        keys = {key.partition("/")[0] for key in open_store(f"s3://{bucket}/kept").list()}
        assert keys == {"step-00000003", "step-00000004"}
    finally:
        server.kill()
