"""`python -m tests.chaos.writers`: training and publishing, killed -9 again and again while they write (reference
columns, checkpoints, the export; uploads and commits), and a disk that fills up under a training run.

What comes of it in the end must be, to the byte, what comes of a run to which nothing happened, with nothing left over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.chaos.damage import files_below
from tests.chaos.full_disk import resize
from tests.chaos.inline import Inline
from tests.chaos.readers import TIMES, published
from tests.hub.server import HubServer
from tests.training.ranks import TRAIN, Forked

PUBLISH = """
import sys
from mmpr_pipeline.dataset.publish import run
run.COMMIT_FILES = 1
run.publish(sys.argv[1], "me/pairs")
"""
MOST_KILLS = 4
LONGEST = 240.0
"""Seconds that one run may take, on a busy machine."""


class Writers:
    """A dataset and a model, and what training and publishing make of them in peace."""

    def __init__(self, folder: Path) -> None:
        from tests.pipeline.made import make_source
        from tests.training import made

        self._folder = folder
        source = make_source(folder / "source", questions=9, open_ended=2)
        settings = {"sources": [str(source)], "out": str(folder / "data"), "shards": 3, "engine.name": "scripted"}
        settings |= {"sampling.samples": 4, "pairing.max_pairs": 2, "screening.decontaminate": False}
        asyncio.run(Inline(settings).run())
        self._model = made.model_folder(folder / "model")
        assert self.start(folder / "peace").wait(LONGEST) == 0
        self.trained = _made_of(folder / "peace")

    def train(self, seed: int) -> Counter[str]:
        """Train, killed at moments drawn from the seed, until it is done; where it was struck."""
        draw, place, struck = random.Random(f"train {seed}"), self._folder / f"train-{seed}", Counter[str]()
        for _ in range(draw.randint(1, MOST_KILLS)):
            phase = draw.choice(("reference", "checkpoint", "checkpoint", "export"))
            if phase == "reference":  # so that there is something to score
                shutil.rmtree(self._folder / "data" / "reference", ignore_errors=True)
            process = self.start(place)
            signs = {
                "reference": lambda: list((self._folder / "data").glob("reference/*/*")),
                "checkpoint": lambda: _half_written(place / "run" / "checkpoints"),
                "export": lambda: list(place.glob(".unfinished-*")),
            }
            if not _await(signs[phase], process):
                assert process.wait() == 0, (place / "output.txt").read_text()[-2000:]
                break
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            struck[phase] += process.wait() == -signal.SIGKILL
        assert self.start(place).wait(LONGEST) == 0, (place / "output.txt").read_text()[-2000:]
        found = _made_of(place)
        wrong = sorted(name for name in {*found, *self.trained} if found.get(name) != self.trained.get(name))
        assert not wrong, f"these differ: {wrong}"
        left = [path.name for path in place.rglob(".unfinished-*")]
        assert not left, f"left behind: {left}"
        shutil.rmtree(place)
        return struck

    def publish(self, seed: int) -> Counter[str]:
        """Publish, killed at moments drawn from the seed, until it is done; how often it was struck."""
        draw = random.Random(f"publish {seed}")
        found, struck = self._publish(draw, draw.randint(1, MOST_KILLS))
        assert found == self.published, sorted(k for k in found if found[k] != self.published.get(k))
        return struck

    @cached_property
    def published(self) -> dict[str, bytes]:
        """What is published in peace."""
        return self._publish(random.Random(0), kills=0)[0]

    def start(self, place: Path) -> Forked:
        """Begin a training run at `place`, or go on with what is left of it, in a process of its own."""
        from tests.training import made

        place.mkdir(exist_ok=True)
        export = str(place / "exported")
        settings = made.settings(self._model, self._folder / "data", place / "run", epochs=2, export=export)
        (place / "settings.json").write_text(settings.model_dump_json())
        return Forked(TRAIN, [str(place / "settings.json"), "--resume"], os.environ, place / "output.txt")

    def _publish(self, draw: random.Random, kills: int) -> tuple[dict[str, bytes], Counter[str]]:
        server, struck = HubServer(), Counter[str]()
        server.tokens = {"hf_test": "write"}
        home = self._folder / f"home-{time.monotonic_ns()}"
        environment = {
            **os.environ, "HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "HF_TOKEN": "hf_test",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
        }  # fmt: skip
        command = [sys.executable, "-c", PUBLISH, str(self._folder / "data")]
        try:
            for _ in range(kills):
                process = subprocess.Popen(command, env=environment)
                requests = len(server.paths) + draw.randint(1, 25)
                if _await(lambda wanted=requests: len(server.paths) >= wanted, process):  # type: ignore[misc]
                    process.send_signal(signal.SIGKILL)
                struck["upload or commit"] += process.wait() == -signal.SIGKILL
            subprocess.run(command, env=environment, check=True, timeout=LONGEST)
            titles = [c.title for c in server.repositories["me/pairs"].history("main")]
            assert len(titles) == len(set(titles)), f"a commit was made twice: {titles}"
            return published(server), struck
        finally:
            server.close()
            shutil.rmtree(home, ignore_errors=True)


def _await(sign: Callable[[], Any], process: subprocess.Popen[bytes] | Forked) -> bool:
    """Whether the sign came before the process ended."""
    deadline = time.monotonic() + LONGEST
    while not sign():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process.poll() is None


def _half_written(checkpoints: Path) -> list[Path]:
    """Files of a rank that are not in their place yet, or that no state.json names yet."""
    begun = [path for path in checkpoints.glob("step-*") if not (path / "state.json").exists()]
    return [*checkpoints.glob(".unfinished-*"), *begun]


def _made_of(place: Path) -> dict[str, Any]:
    """Figures of every step, and the exported files."""
    from mmpr_pipeline.training.run.run_folder import read_lines

    lines = read_lines(place / "run" / "metrics.jsonl")
    steps = {f"step {n}": {k: v for k, v in line.items() if k not in TIMES} for n, line in enumerate(lines, 1)}
    return {**steps, **{path.name: path.read_bytes() for path in files_below(place / "exported")}}


def full_disk(work: Path, disk: Path) -> dict[str, Any]:
    """A training run whose disk fills up while it writes checkpoints; then, with space again, to its end."""
    writers = Writers(work)
    resize(disk, 200 << 20)
    place, ballast = disk / "train", disk / "ballast"
    process = writers.start(place)
    _await(lambda: list((place / "run").glob("checkpoints/step-*/state.json")), process)
    with ballast.open("wb", buffering=0) as file:
        for block in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(block))
            except OSError:
                continue
    status = process.wait(LONGEST)
    said = (place / "output.txt").read_text()
    left = sorted(path.name for path in place.rglob(".unfinished-*"))
    kept = len(list((place / "run").glob("checkpoints/step-*/state.json")))
    ballast.unlink()
    again = writers.start(place).wait(LONGEST)
    same = again == 0 and _made_of(place) == writers.trained
    return {"status": status, "said": said[-3000:], "left": left, "kept": kept, "same": same}


def main() -> int:
    """Campaign after campaign for so many seconds; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.writers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--full-disk", nargs=2, type=Path, metavar=("WORK", "DISK"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.full_disk:
        print(json.dumps(full_disk(*asked.full_disk)))
        return 0
    struck, ended, failed = Counter[str](), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="mmpr-writers-") as folder:
        writers, seed = Writers(Path(folder)), asked.seed
        until = time.monotonic() + asked.seconds
        while time.monotonic() < until:
            for name, campaign in (("train", writers.train), ("publish", writers.publish)):
                try:
                    struck += Counter({f"{name}: {where}": n for where, n in campaign(seed).items()})
                    ended[name] += 1
                except (AssertionError, subprocess.SubprocessError):
                    traceback.print_exc()
                    failed.append(f"{name} {seed}")
            seed += 1
    kills = ", ".join(f"{count} at {where}" for where, count in sorted(struck.items()))
    print(
        f"{ended['train']} training runs and {ended['publish']} publications came out the same after {struck.total()}"
    )
    print(f"kills -9 ({kills}); {len(failed)} failed {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
