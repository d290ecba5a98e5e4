"""jobs/slurm.sh when a node fails, the run fails or the time is over; Slurm, Ray and mmpr are stood in for."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.jobs.test_jobs import JOBS, shim

RUNS = ["build", "train"]
DRIVER = {
    "waits": 'trap "echo run told >>$SHIM_LOG; exit 0" TERM\necho "run up $*" >>"$SHIM_LOG"\n'
    "while :; do sleep 0.1; done",
    "fails": "exit 3",
}


def start(run: str, tmp_path: Path, driver: str, srun: str = "exec sleep 60", alive: int = 2) -> subprocess.Popen[str]:
    """The script for a run, where Ray says that so many nodes are alive."""
    shims = tmp_path / "bin"
    shims.mkdir()
    shim(shims, "scontrol", 'echo "scontrol $*" >>"$SHIM_LOG"; [[ $1 == requeue ]] || printf "node-%s\\n" {1..20000}')
    shim(shims, "srun", f'echo "srun $*" >>"$SHIM_LOG"\n[[ $* == *hostname* ]] && {{ echo 10.0.0.1; exit; }}\n{srun}')
    shim(shims, "ray", f'for n in $(seq {alive}); do echo " node_$n"; done')
    shim(shims, "mmpr", DRIVER[driver])
    environment = {
        **os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node-[1-20000]", "SHIM_LOG": str(tmp_path / "log"), "RAY_HEAD_SECONDS": "0",
    }  # fmt: skip
    command = ["bash", str(JOBS / "slurm.sh"), run, "settings.yaml"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def finish(job: subprocess.Popen[str]) -> str:
    try:
        return job.communicate(timeout=60)[0]
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)


def log_of(tmp_path: Path) -> str:
    path = tmp_path / "log"
    return path.read_text() if path.exists() else ""


def wait_for(text: str, tmp_path: Path) -> None:
    deadline = time.monotonic() + 30
    while text not in log_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize("run", RUNS)
def test_a_job_whose_time_is_over_tells_its_run_and_is_queued_again(run: str, tmp_path: Path) -> None:
    job = start(run, tmp_path, driver="waits")
    wait_for("run up", tmp_path)
    os.kill(job.pid, signal.SIGTERM)  # to the script alone, as Slurm's B: has it
    said = finish(job)
    assert job.returncode == 0, said
    told, requeued = (log_of(tmp_path).find(text) for text in ("run told", "scontrol requeue 7"))
    assert 0 < told < requeued, "the run closes its journals before the job is queued again"
    assert "--nodelist=node-1 " in log_of(tmp_path)
    assert f"run up {run} settings.yaml{' --resume' if run == 'train' else ''}\n" in log_of(tmp_path)


@pytest.mark.parametrize("run", RUNS)
def test_a_job_whose_time_is_over_before_its_run_began_is_queued_again(run: str, tmp_path: Path) -> None:
    job = start(run, tmp_path, driver="waits", alive=0)
    wait_for("ray start --address", tmp_path)
    os.kill(job.pid, signal.SIGTERM)
    said = finish(job)
    assert job.returncode == 0, said
    assert "scontrol requeue 7" in log_of(tmp_path)
    assert "run up" not in log_of(tmp_path)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_that_fails_fails_the_job(run: str, tmp_path: Path) -> None:
    job = start(run, tmp_path, driver="fails")
    finish(job)
    assert job.returncode == 3
    assert "requeue" not in log_of(tmp_path)


@pytest.mark.parametrize("run", RUNS)
def test_a_node_that_does_not_start_is_told(run: str, tmp_path: Path) -> None:
    job = start(run, tmp_path, driver="waits", srun="exit 1", alive=0)
    said = finish(job)
    assert job.returncode == 1
    assert "did not start" in said
    assert "run up" not in log_of(tmp_path)


def test_what_is_neither_a_build_nor_a_training_run_is_refused(tmp_path: Path) -> None:
    job = start("settings.yaml", tmp_path, driver="waits")
    assert "build|train" in finish(job)
    assert job.returncode == 2
    assert log_of(tmp_path) == ""
