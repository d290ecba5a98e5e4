"""One campaign: one build that is struck at moments drawn from a seed and run again until it is whole.

The same command is run each time. At the end the output must be, byte for byte, that of a build left in peace;
no rollout may be missing, and what was journalled may be neither journalled nor generated again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.config import absolute_build_paths, load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from tests.chaos import processes
from tests.chaos.places import Place
from tests.chaos.witness import Witness, wait_until
from tests.pipeline.made import make_source

SHARDS = 3
DATA = ("pairs/", "images/", "rollouts/", "questions/", "manifests/")
STEP_SECONDS = 180.0
"""Longest time that a build may make nothing, on a busy machine, before the campaign fails."""


@dataclass(frozen=True)
class Blow:
    """What is struck, and when: after so many more rollout requests, so many seconds, or at the next finished shard."""

    kind: str
    when: str
    amount: float


def draw_blows(seed: int, kinds: Sequence[str]) -> list[Blow]:
    """A moment for each of the kinds, in this order."""
    draw = random.Random(f"blows {seed}")
    blows = []
    for kind in kinds:
        when = draw.choices(("served", "seconds", "shard"), (6, 3, 1))[0]
        amount = {"served": float(draw.randint(1, 30)), "seconds": draw.uniform(0.1, 15), "shard": draw.uniform(0, 0.2)}
        blows.append(Blow(kind, when, round(amount[when], 2)))
    return blows


@dataclass
class Result:
    """What a campaign saw."""

    seed: int
    blows: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    journalled: int = 0
    generated: int = 0
    steps: int = 0
    digest: str = ""
    seconds: float = 0.0
    outlived: float = 0.0
    """Most seconds that a killed driver's workers lived on."""


@dataclass
class Reference:
    """The build to which nothing happened."""

    source: Path
    files: dict[str, bytes]
    steps: set[str]
    pairing: dict[str, Any] = field(default_factory=dict)
    """Settings of pairing that are not the defaults."""

    @property
    def digest(self) -> str:
        """Hash over all its files."""
        return digest_of(self.files)


EVERY_STRATEGY = {
    "strategies": ["blind", "correctness", "vote", "dropout_ntp", "format", "step"],
    "options": {"blind": {"samples": 2}, "vote": {"answers": 6}, "step": {"responses": 2, "steps": 4, "samples": 2}},
}
"""Settings of pairing under which every kind of request is made."""


def make_reference(
    folder: Path, questions: int = 60, open_ended: int = 6, pairing: dict[str, Any] | None = None
) -> Reference:
    """Make the source, and build it in this process, without Ray, journals replayed or faults."""
    source = make_source(folder / "source", questions=questions, open_ended=open_ended)
    out, log = folder / "whole", folder / "whole.log"
    given = settings(source, str(out), log, pairing or {})
    plan = make_build_plan(absolute_build_paths(load_config(None, given)))

    async def build() -> None:
        engine = await plan.start()
        for shard in range(SHARDS):
            await work_shard(plan, shard, engine, lambda _: None)

    asyncio.run(build())
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return Reference(source, data_of(files), set(log.read_text().splitlines()), pairing or {})


def settings(source: Path, out: str, log: Path, pairing: dict[str, Any], **engine: Any) -> dict[str, Any]:
    """Settings that every campaign's builds share: what decides the bytes."""
    script = {"log": str(log), "latency": engine.pop("latency", 0.0)}
    if pairing:  # what is there is part of the identity
        script |= {"solve_rate": 0.8, "blind_rate": 0.6, "sloppy_rate": 0.3, "unparseable_rate": 0.1}
    given = {"sources": [str(source)], "out": out, "shards": SHARDS, "in_flight": 2}
    given["screening"] = {"decontaminate": False}  # nothing here is to be asked of the Hub
    return {**given, "pairing": pairing, "engine": {"name": "scripted", "script": script, **engine}}


def data_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """The dataset's files: not the settings and the summary, which name places and times."""
    return {key: data for key, data in files.items() if key.startswith(DATA)}


def digest_of(files: dict[str, bytes]) -> str:
    """sha256 over names and contents."""
    whole = hashlib.sha256()
    for key in sorted(files):
        whole.update(f"{key} {hashlib.sha256(files[key]).hexdigest()}\n".encode())
    return whole.hexdigest()


class Campaign:
    """See the module."""

    def __init__(
        self,
        folder: Path,
        reference: Reference,
        place: Place,
        seed: int,
        mark: str,
        blows: Sequence[Blow],
        noise: bool = False,
    ) -> None:
        """`noise`: the engine draws other responses in each of its lives, as engines on GPUs do."""
        self._noise = noise
        self._folder, self._reference, self._place, self._blows = folder, reference, place, blows
        self._draw = random.Random(seed + 1)
        self._mark = mark
        self._log, self._config = folder / "engine.log", folder / "build.yaml"
        self._driver: subprocess.Popen[bytes] | None = None
        self._made_at_start = 0
        self._witness = Witness(place.output, self._log, 0.2)
        self.result = Result(seed)

    def run(self) -> Result:
        """Carry it out; raises AssertionError where something was lost, repeated or different."""
        began = time.monotonic()
        actors = self._draw.randint(1, 2)
        latency = self._draw.choice((0.15, 0.3, 0.45))
        given = settings(self._reference.source, "", self._log, self._reference.pairing, actors=actors, latency=latency)
        if self._noise:  # a setting that is there is part of the identity
            given["engine"]["script"]["noise"] = True
        self._config.write_text(yaml.safe_dump({**given, **self._place.settings()}))
        self._witness.start()
        try:
            for blow in self._blows:
                if not self._deal(blow):
                    break  # the build was quicker
            self._finish()
        finally:
            self._witness.dismiss()
            processes.kill_all(self._mark)
        self._judge()
        self.result.seconds = time.monotonic() - began
        return self.result

    def _deal(self, blow: Blow) -> bool:
        """Wait for the blow's moment and strike; False where the build was done before."""
        if self._driver is None:
            self._start()
        if not self._await_moment(blow):
            return self._ended_well()
        struck = self._strike(blow.kind)
        self.result.blows[blow.kind] += struck
        return True

    def _strike(self, kind: str) -> bool:
        assert self._driver is not None
        if kind in ("driver", "interrupt", "terminate"):
            number = {"driver": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}[kind]
            # While Python or Ray start or end, the signals do what these make of them.
            at_work = self._made() > self._made_at_start and self._place.output.finished() < SHARDS
            self._driver.send_signal(number)
            self._gone({0, -number} if number == signal.SIGKILL else {0, 130} if at_work else {0, 130, 1, 15, -number})
            return True
        if kind in ("engine", "worker", "board", "raylet"):
            driver, there = self._driver, list[int]()

            def found() -> bool:
                there[:] = processes.of_kind(self._mark, kind)
                return bool(there) or driver.poll() is not None

            wait_until(found, STEP_SECONDS)
            struck = bool(there) and processes.kill(self._draw.choice(there))
            if struck and kind == "raylet":
                self._gone(set())
            return struck
        if kind == "outage":
            with self._place.away():
                self._gone({0, 1})
            assert "goes on" in self._told() or self._place.output.finished() == SHARDS, self._told()
            return True
        return self._place.strike(kind, self._draw)

    def _start(self) -> None:
        environment = {**os.environ, processes.MARK: self._mark, **self._place.environment()}
        with (self._folder / "output.txt").open("ab") as output:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "mmpr_pipeline.cli", "build", str(self._config)],
                stdout=output,
                stderr=output,
                env=environment,
            )
        self.result.runs += 1
        self._made_at_start = self._made()

    def _await_moment(self, blow: Blow) -> bool:
        """Whether the moment came before the driver ended."""
        driver = self._driver
        assert driver is not None
        started, made, whole = time.monotonic(), self._made(), self._finished_shards()

        def come() -> bool:
            if blow.when == "seconds":
                return time.monotonic() >= started + blow.amount
            if blow.when == "shard":
                return self._finished_shards() > whole
            return self._made() >= made + blow.amount

        assert wait_until(lambda: come() or driver.poll() is not None, STEP_SECONDS), self._told()
        if blow.when == "shard":
            time.sleep(blow.amount)
        return driver.poll() is None

    def _made(self) -> int:
        return self._log.read_bytes().count(b"\n") if self._log.exists() else 0

    def _finished_shards(self) -> int:
        return self._place.output.finished()

    def _gone(self, statuses: set[int]) -> None:
        """The driver ends, now that it was struck; its workers are waited for, or met by the next run, as drawn."""
        assert self._driver is not None
        try:
            found = self._driver.wait(120)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the driver does not end: {self._told()}") from None
        assert not statuses or found in statuses, f"status {found}: {self._told()}"
        self._driver = None
        if self._draw.random() < 0.5:
            self.result.outlived = max(self.result.outlived, processes.wait_for_workers_to_end(self._mark, 60))

    def _ended_well(self) -> bool:
        assert self._driver is not None
        assert self._driver.poll() == 0, f"the build stopped though it was not struck: {self._told()}"
        return False

    def _finish(self) -> None:
        if self._driver is None:
            self._start()
        assert self._driver is not None
        assert wait_until(lambda: self._driver is not None and self._driver.poll() is not None, 300), self._told()
        self._ended_well()

    def _judge(self) -> None:
        result, witness, reference = self.result, self._witness, self._reference
        assert not witness.errors, witness.errors
        made, files = witness.generated(), self._place.output.files()
        result.journalled, result.generated, result.steps = len(witness.places), sum(made.values()), len(made)
        found = data_of(files)
        result.digest = digest_of(found)
        if self._noise:
            self._judge_noise(found)
        else:
            differing = sorted(k for k in {*found, *reference.files} if found.get(k) != reference.files.get(k))
            assert not differing, f"these files differ: {differing}"
            assert result.digest == reference.digest
            assert set(made) == reference.steps, "rollouts were lost, or never asked for"
        left = [key for key in files if key.startswith("journal/") or key in (".progress.json",)]
        assert not left, f"left behind: {left}"
        assert not witness.twice, f"journalled twice: {sorted(witness.twice)}"
        again = witness.generated_again()
        assert not again, f"generated again after it was journalled: {sorted(again)}"

    def _judge_noise(self, found: dict[str, bytes]) -> None:
        """No two builds are equal: this one must be whole, and hold every response that was seen in a journal."""
        report = verify(self._place.output.url)
        assert report.ok, report
        stored: dict[str, set[str]] = defaultdict(set)
        for key, data in found.items():
            if key.startswith("rollouts/"):
                for row in pa.ipc.open_file(data).read_all().select(["question_id", "text"]).to_pylist():
                    stored[row["question_id"]].add(row["text"])
        lost = {question for question, texts in self._witness.texts.items() if not texts <= stored[question]}
        assert not lost, f"journalled responses are not in the output: {sorted(lost)}"

    def _told(self) -> str:
        return (self._folder / "output.txt").read_text(errors="replace")[-3000:]
