"""`python -m tests.training.chaos`: sharded runs of each launcher, struck at random moments, resumed to equal losses.

Each seed has a launcher (torchrun, Ray Train, jobs/slurm.sh train) and draws blows (SIGTERM to what the user or Slurm
would send it to; kill -9 of that process, of a rank, or of everything) and their moments, start-up included.
The run is begun again by the same command until it is done. Its losses must be those of one process that nobody
stopped. A seed that failed keeps its folder and can be run alone: --seed N --seeds 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import read_lines
from mmpr_pipeline.training.settings import TrainConfig
from tests.chaos.processes import MARK, kill, kill_all, marked
from tests.jobs.test_jobs import JOBS, slurm
from tests.training import made

ROOT = Path(__file__).parents[2]
LAUNCHERS = ("torchrun", "ray", "slurm")
BLOWS = ("term", "kill", "kill rank", "kill all")
RANKS = 2
STEPS = 12
START = {"torchrun": 15.0, "ray": 30.0, "slurm": 40.0}  # seconds until the first step, about, on a quiet machine
STEP = 1.0  # seconds, or less
PATIENCE = 240.0
APART = 1e-4  # two ranks sum in another order than one


@dataclass
class Outcome:
    """What a seed did: blows that landed, starts, steps at each blow, how far the losses were apart."""

    launcher: str
    blows: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    starts: int = 0
    apart: float = 0.0


@dataclass(frozen=True)
class Material:
    """Model and data, and the losses of the run that nobody stopped."""

    model: Path
    data: Path
    losses: tuple[float, ...]

    @classmethod
    def make(cls, folder: Path) -> Material:
        """Train it, in this process."""
        model, data = made.model_folder(folder / "model"), Path(made.dataset(folder / "data"))
        train(cls(model, data, ()).settings(folder / "whole"))
        return cls(model, data, _losses(folder / "whole"))

    def settings(self, run: Path, **launch: Any) -> TrainConfig:
        """Of a run with a checkpoint every other step."""
        chosen = {"device": "cpu", "patience": 0.5, **launch}
        return made.settings(
            self.model, self.data, run, epochs=3, max_steps=STEPS, checkpoint_every=2, samples=0, launch=chosen
        )


def struck(material: Material, folder: Path, seed: int, launcher: str, blows: int = 2) -> Outcome:
    """Begin, strike and begin again until the run is done. Fails where it does not end, or ends elsewhere."""
    draw, mark = random.Random(f"{seed} {launcher}"), f"{os.getpid()}-{seed}"
    on_ray = {"on": "ray", "workers": RANKS, "address": "local" if launcher == "ray" else "auto"}
    folder.mkdir(parents=True)
    run = folder / "run"
    file = folder / "train.yaml"
    file.write_text(material.settings(run, **({} if launcher == "torchrun" else on_ray)).model_dump_json())
    outcome = Outcome(launcher)
    try:
        while True:
            job = _start(launcher, file, folder, mark)
            outcome.starts += 1
            if len(outcome.blows) < blows:
                _wait(run, draw.randrange(STEPS), draw.random(), job, launcher)
                if job.poll() is None:
                    blow, step = draw.choice(BLOWS), len(read_lines(run / "metrics.jsonl"))
                    if _strike(blow, job.pid, mark, draw):
                        outcome.blows.append(blow)
                        outcome.steps.append(step)
            status = _ended(job, folder)
            kill_all(mark)
            if _finished(run):
                break
            assert len(outcome.blows) >= outcome.starts, f"ended by itself with {status}: {_log(folder)}"
    finally:
        kill_all(mark)
    ours = _losses(run)
    assert len(ours) == len(material.losses), f"{len(ours)} steps: {_log(folder)}"
    outcome.apart = max(abs(a - b) for a, b in zip(ours, material.losses, strict=True))
    assert outcome.apart < APART, f"losses are {outcome.apart} apart"
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(".")], "something is left"
    assert CheckpointPlace(run).steps()[-1] == STEPS
    return outcome


def _wait(run: Path, step: int, share: float, job: subprocess.Popen[bytes], launcher: str) -> None:
    """Until a share of the start-up is over, or of the step after so many finished ones."""
    until = time.monotonic() + PATIENCE
    while len(read_lines(run / "metrics.jsonl")) < step and job.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    until = time.monotonic() + share * (STEP if step else START[launcher])
    while time.monotonic() < until and job.poll() is None:
        time.sleep(0.02)


def _start(launcher: str, file: Path, folder: Path, mark: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "train", str(file), "--resume"]
    environment = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if launcher == "torchrun":
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
        command = [sys.executable, *launch, *command[1:]]
    if launcher == "slurm":
        command = ["bash", str(JOBS / "slurm.sh"), "train", str(file)]
        (folder / "slurm").mkdir(exist_ok=True)
        environment |= slurm(folder / "slurm")
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _strike(blow: str, pid: int, mark: str, draw: random.Random) -> bool:
    """False where there was nothing to strike: no rank lives yet."""
    if blow == "term":
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return True
    if blow == "kill":
        return kill(pid)
    if blow == "kill all":
        kill_all(mark)
        return True
    ranks = sorted(n for n, title in marked(mark).items() if _is_rank(n, title))
    return bool(ranks) and kill(draw.choice(ranks))


def _is_rank(pid: int, title: str) -> bool:
    if "RayTrainWorker" in title:
        return True
    with suppress(OSError):
        return b"\0RANK=" in Path(f"/proc/{pid}/environ").read_bytes() and "mmpr_pipeline.cli train" in title
    return False


def _ended(job: subprocess.Popen[bytes], folder: Path) -> int:
    try:
        return job.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the run does not end: {_log(folder)}") from None


def _finished(run: Path) -> bool:
    return bool(CheckpointPlace(run).steps()) and len(_losses(run)) >= STEPS and (run / "summary.json").is_file()


def _losses(run: Path) -> tuple[float, ...]:
    return tuple(line["loss"] for line in read_lines(run / "metrics.jsonl"))


def _log(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-3000:]


def main() -> int:
    """Seed after seed, each launcher in turn, for so many seconds; then counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.training.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("CHAOS_SECONDS", 600)))
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000, help="most seeds")
    parser.add_argument("--launchers", default=",".join(LAUNCHERS))
    asked = parser.parse_args()
    folder, launchers = Path(tempfile.mkdtemp(prefix="mmpr-chaos-")), asked.launchers.split(",")
    material = Material.make(folder)
    outcomes: list[Outcome] = []
    failed: list[int] = []
    until = time.monotonic() + asked.seconds
    for seed in range(asked.seed, asked.seed + asked.seeds):
        if time.monotonic() > until:
            break
        launcher, here = launchers[seed % len(launchers)], folder / str(seed)
        began = time.monotonic()
        try:
            outcomes.append(struck(material, here, seed, launcher))
        except AssertionError:
            traceback.print_exc()
            failed.append(seed)
            print(f"seed {seed} {launcher} FAILED; its files are in {here}", flush=True)
            continue
        shutil.rmtree(here, ignore_errors=True)
        last = outcomes[-1]
        when = ", ".join(f"{blow} at step {step}" for blow, step in zip(last.blows, last.steps, strict=True))
        print(
            f"seed {seed} {launcher}: {last.starts} starts; {when or 'nothing struck'}; losses {last.apart:.1e} apart,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
    counted = Counter(f"{o.launcher}: {blow}" for o in outcomes for blow in o.blows)
    print(f"\n{len(outcomes)} runs finished in {sum(o.starts for o in outcomes)} starts, {len(failed)} failed {failed}")
    print(f"struck  {counted.total()}: " + ", ".join(f"{n} {name}" for name, n in sorted(counted.items())))
    print(f"losses  at most {max((o.apart for o in outcomes), default=0.0):.1e} from those of one process")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
