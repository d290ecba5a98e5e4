"""jobs/slurm.sh with the real `mmpr train` on real Ray nodes; only Slurm's own commands are stood in for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import read_lines
from tests.jobs.test_jobs import JOBS, node_address, slurm
from tests.training import made


def submit(tmp_path: Path, config: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, **slurm(tmp_path, nodes=2), "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "job.log", "a") as log:
        return subprocess.Popen(
            ["bash", str(JOBS / "slurm.sh"), "train", str(config)],
            stdout=log, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_time_that_is_over_costs_no_finished_step(tmp_path: Path) -> None:
    """SIGTERM to the script: the workers of Ray Train keep the last finished step, the job is queued again, and what
    goes on from there has the losses of one process that nobody stopped. (Chaos campaigns begin the job itself again.)
    """
    model, data, run = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data"), tmp_path / "run"
    launch = {"on": "ray", "workers": 2, "address": "auto", "device": "cpu"}
    settings = made.settings(model, data, run, epochs=50, checkpoint_every=1000, launch=launch)
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    job = submit(tmp_path, config)
    try:
        deadline = time.monotonic() + 200
        while len(read_lines(run / "metrics.jsonl")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGTERM)  # to the script alone, as Slurm's B: has it
        job.wait(timeout=120)
        said = (tmp_path / "job.log").read_text()
        assert job.returncode == 0, said[-3000:]
        asked = (tmp_path / "log").read_text()
        assert "start --head" in asked
        assert f"start --address={node_address()}:" in asked
        assert "scontrol requeue 7" in asked
        [kept] = CheckpointPlace(run).steps()
        assert len(read_lines(run / "metrics.jsonl")) == kept >= 2, said[-3000:]

    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
    last = settings.model_copy(update={"max_steps": kept + 2, "launch": made.HERE})
    alone = last.model_copy(update={"run_dir": str(tmp_path / "alone")})
    train(last, resume=True)
    train(alone)
    ours, theirs = (read_lines(Path(c.run_dir) / "metrics.jsonl") for c in (last, alone))
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], abs=1e-4)
