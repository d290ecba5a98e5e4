"""A run that is asked to stop keeps its last finished step at once, however it is asked and wherever it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmpr_pipeline.training import world as stopping
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.objective import reference as reference_pass
from mmpr_pipeline.training.run import loop, step
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import read_lines
from mmpr_pipeline.training.settings import TrainConfig
from mmpr_pipeline.training.world import ask_to_stop, stop_requested
from tests.training import made
from tests.training.ranks import Forked, start_ranks

ROOT = Path(__file__).parents[3]
TIMES = {"seconds", "tokens_per_second", "pairs_per_second", "mfu", "memory_gib"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model, its data, and a run of 4 steps that nobody stopped."""
    root = tmp_path_factory.mktemp("stopping")
    model, data = made.model_folder(root / "model"), made.dataset(root / "data")
    train(made.settings(model, data, root / "whole", token_budget=128))
    return model, data, root / "whole"


def losses(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_lines(run / "metrics.jsonl")]


def at_call(number: int, function: Any, act: Any) -> Any:
    """The function, with `act` before its call of that number."""
    calls = iter(range(1, 1 << 30))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            act()
        return function(*args, **kwargs)

    return wrapped


def test_in_the_middle_of_a_step_the_last_finished_one_is_kept(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the step that is given up nothing stays: no gradient, no reward in δ."""
    model, data, whole = folders
    config = made.settings(model, data, tmp_path, token_budget=128, checkpoint_every=100)
    done: list[int] = []

    def counted(batch: PackedBatch) -> None:
        if len(read_lines(tmp_path / "metrics.jsonl")) == 2:
            done.append(1)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(step, "check_completions", counted)
    result = train(config)
    assert (result.step, result.interrupted, len(done)) == (2, True, 1)
    assert CheckpointPlace(tmp_path).steps() == [2]
    monkeypatch.undo()
    assert train(config, resume=True).step == 4
    assert losses(tmp_path) == losses(whole)


def test_while_the_reference_is_scored_no_more_is_scored(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, whole = folders
    data = made.dataset(tmp_path / "data")
    config = made.settings(model, data, tmp_path / "run", token_budget=128)
    asked = at_call(4, reference_pass.reference_rows, lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(reference_pass, "reference_rows", asked)
    result = train(config)
    assert (result.step, result.interrupted) == (0, True)
    monkeypatch.undo()
    train(config, resume=True)
    assert losses(tmp_path / "run") == losses(whole)


def test_a_file_stops_a_run_and_is_gone_when_it_was_obeyed(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, _ = folders
    monkeypatch.setattr(stopping, "LOOK_EVERY", 0.01)

    def ask() -> None:
        ask_to_stop(tmp_path)
        time.sleep(0.3)

    monkeypatch.setattr(loop, "lr_at", at_call(3, loop.lr_at, ask))
    result = train(made.settings(model, data, tmp_path, checkpoint_every=100))
    assert (result.step, result.interrupted) == (2, True)
    assert CheckpointPlace(tmp_path).steps() == [2]
    assert not (tmp_path / stopping.STOP).exists()


def test_a_pod_that_is_taken_away_waits_until_the_step_is_kept(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preStop hook of jobs/kuberay-train.yaml, run beside a real run."""
    model, data, _ = folders
    manifest = list(yaml.safe_load_all((ROOT / "jobs" / "kuberay-train.yaml").read_text()))[-1]
    pod = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    *_, hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    hook = hook.replace("/runs/my-mpo", str(tmp_path))
    monkeypatch.setattr(stopping, "LOOK_EVERY", 0.01)
    started: list[subprocess.Popen[bytes]] = []

    def taken_away() -> None:
        started.append(subprocess.Popen(["sh", "-c", hook]))
        time.sleep(0.5)
        assert started[0].poll() is None

    monkeypatch.setattr(loop, "lr_at", at_call(3, loop.lr_at, taken_away))
    assert train(made.settings(model, data, tmp_path, checkpoint_every=100)).interrupted
    assert started[0].wait(timeout=10) == 0
    assert CheckpointPlace(tmp_path).steps() == [2]
    subprocess.run(["sh", "-c", hook], timeout=10, check=True)  # nothing runs: nothing to wait for
    assert pod["terminationGracePeriodSeconds"] >= 120


def test_a_file_left_for_an_earlier_start_stops_no_later_one(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmpr_pipeline.training.run.launch import run_training

    model, data, _ = folders
    monkeypatch.setattr(stopping, "LOOK_EVERY", 0.01)
    ask_to_stop(tmp_path)
    assert run_training(made.settings(model, data, tmp_path)).step == 4


def test_the_echo_of_a_signal_ends_nothing_and_a_second_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun a process hears Ctrl-C twice, from the terminal and from torchrun; under Slurm SIGTERM."""
    before = signal.getsignal(signal.SIGINT)
    with stop_requested() as event:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert event.is_set()
        monkeypatch.setattr(stopping, "ECHO", 0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before  # Python's own, or none under nohup


def start(config: TrainConfig, *launcher: str) -> subprocess.Popen[str]:
    """The real program, `mmpr train SETTINGS --resume`."""
    path = Path(f"{config.run_dir}.yaml")
    path.write_text(config.model_dump_json())
    command = [sys.executable, *launcher, "-m", "mmpr_pipeline.cli", "train", str(path), "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_step(run: Path, number: int, job: subprocess.Popen[str] | Forked) -> None:
    deadline = time.monotonic() + 200
    while len(read_lines(run / "metrics.jsonl")) < number:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_under_torchrun_a_signal_keeps_a_step_and_a_rank_that_hangs_is_noticed(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """SIGTERM to torchrun; begun again, one rank hangs; begun again, the losses are as if nothing had happened."""
    model, data, _ = folders
    run, torchrun = tmp_path / "run", ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    config = made.settings(
        model, data, run, epochs=50, checkpoint_every=1000, launch={"device": "cpu", "patience": 0.1}
    )
    job = start(config, *torchrun)
    wait_for_step(run, 2, job)
    job.send_signal(signal.SIGTERM)
    said = job.communicate(timeout=60)[0]
    [kept] = CheckpointPlace(run).steps()
    assert len(read_lines(run / "metrics.jsonl")) == kept >= 2, said

    output = tmp_path / "output"
    waits, hangs = start_ranks([f"{run}.yaml", "--resume"], os.environ, output=output)
    wait_for_step(run, kept + 2, waits)
    hangs.send_signal(signal.SIGSTOP)
    try:
        assert waits.wait(200) == 1  # gloo's own timeout is half an hour
    finally:
        hangs.send_signal(signal.SIGKILL)
    said = output.read_text()
    assert "Another rank is gone, or did not answer within 0.1 minutes" in said, said[-3000:]

    last = config.model_copy(update={"max_steps": kept + 1})
    train(last, resume=True)
    train(last.model_copy(update={"run_dir": str(tmp_path / "whole")}))
    for ours, theirs in zip(losses(run), losses(tmp_path / "whole"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
