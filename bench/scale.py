"""The paper's scale on two cores: 250,000 questions, 8 million rollouts, 3 million pairs, 512 shards, then verify.

    python bench/scale.py [--size 1/64 1/16 1/4 1] [--cores 2] [--folder DIR] [--json FILE]

A fake model answers; all else is the real thing. The script writes a Parquet file of questions of five kinds, each with
a small picture of its own, and runs `mmpr build --no-adaptive` (32 rollouts a question, journalled and checked, local
Ray) and `mmpr verify` on it, each as a user would, while it looks at every process once a second. A smaller size has
proportionally fewer questions and shards, so that one shard is the same work at every size.

CPU times are of all processes of a command (Ray's own too) as last seen; memory is each process's peak of resident
memory (VmHWM), *worker* the largest of the shard workers. *written* is what write calls were given: output, journals,
and what processes tell each other. Everything is written to a temporary folder, which is deleted after each size.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

QUESTIONS, SHARDS, SAMPLES = 250_000, 512, 32
BYTES_PER_QUESTION = 40_000  # on disk at once: the source, the output, and the journals of the shards in work
LOOK_EVERY = 1.0
ROWS_PER_GROUP = 1_000
SCRIPT = {"solve_rate": 0.5, "extremes": 0.2, "tokens": 40}
DECLARATION = """
name: scale
description: Questions made to measure a build of the paper's size.
files: questions.parquet
columns: {id: id, question: question, choices: choices, answer: answer, image: image}
kind: {column: kind}
answer_form: letter
"""
NAMES = ["north", "copper", "a lighthouse", "Lisbon", "the second bridge", "winter", "seventeen boats", "green glass"]
KINDS = ["number", "number", "number", "choice", "choice", "choice", "math", "text", "yes_no", "number"]


def rows(first: int, stop: int) -> Iterator[dict[str, Any]]:
    """Questions number `first` to `stop` (exclusive): numbers, choices, formulas, short texts, yes or no."""
    for number in range(first, stop):
        draw = random.Random(number)
        kind = KINDS[number % len(KINDS)]
        choices = [f"{name} {draw.randrange(1000)}" for name in draw.sample(NAMES, 4)] if kind == "choice" else None
        yield {
            "id": f"q{number}",
            "question": f"Picture {number}: {_asked(kind)} See the area marked {draw.randrange(10_000)}.",
            "kind": kind,
            "choices": choices,
            "answer": _gold(kind, draw),
            "image": {"bytes": picture(number), "path": None},
        }


def _asked(kind: str) -> str:
    return {
        "number": "how many objects does the picture show?",
        "choice": "which of these does the picture show?",
        "math": "what is the ratio of the two areas?",
        "text": "what is written on the sign?",
        "yes_no": "is the left part larger than the right part?",
    }[kind]


def _gold(kind: str, draw: random.Random) -> str:
    if kind == "number":
        return str(draw.randrange(1, 2_000))
    if kind == "choice":
        return draw.choice("ABCD")
    if kind == "math":
        return f"\\frac{{{draw.randrange(1, 40)}}}{{{draw.choice([7, 11, 13, 17])}}}"
    return draw.choice(["yes", "no"] if kind == "yes_no" else NAMES)


def picture(number: int) -> bytes:
    """A PNG of 64 x 64 pixels, another one for each number."""
    digest = hashlib.sha512(str(number).encode()).digest()
    buffer = io.BytesIO()
    cells = Image.frombytes("RGB", (8, 8), digest * 3)
    cells.resize((64, 64), Image.Resampling.NEAREST).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_source(folder: Path, questions: int) -> Path:
    """The questions as one Parquet file, and the declaration beside it; returns the declaration."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = [(name, pa.string()) for name in ("id", "question", "kind", "answer")]
    schema = pa.schema([*texts, ("choices", pa.list_(pa.string())), ("image", image)])
    with pq.ParquetWriter(folder / "questions.parquet", schema) as writer:
        for first in range(0, questions, ROWS_PER_GROUP):
            batch = list(rows(first, min(first + ROWS_PER_GROUP, questions)))
            writer.write_table(pa.Table.from_pylist(batch, schema))
    declaration = folder / "scale.yaml"
    declaration.write_text(DECLARATION)
    return declaration


@dataclass
class Usage:
    """What a command used: seconds by the clock and of processors, and by process, peak MB and bytes written."""

    wall: float = 0.0
    cpu: dict[int, float] = field(default_factory=dict)
    peak: dict[int, float] = field(default_factory=dict)
    written: dict[int, int] = field(default_factory=dict)
    role: dict[int, str] = field(default_factory=dict)
    rss_at_once: float = 0.0

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of all processes."""
        return sum(self.cpu.values())

    def most(self, role: str) -> float:
        """Peak MB of the largest process of a role: driver, worker or ray."""
        return max((self.peak[pid] for pid, its in self.role.items() if its == role), default=0.0)


def watched(command: Sequence[str], cores: int, log: Path) -> Usage:
    """Run a command on `cores` cores and watch its processes; raises RuntimeError, with its last words, if it fails."""
    usage = Usage()
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    began = time.monotonic()
    with log.open("wb") as output:
        running = psutil.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )
        try:
            _look(running, usage)
            while True:
                try:
                    running.wait(LOOK_EVERY)
                    break
                except psutil.TimeoutExpired:
                    _look(running, usage)
        except BaseException:
            _stop(running)
            raise
    usage.wall = time.monotonic() - began
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")
    return usage


def _stop(running: psutil.Popen) -> None:
    """End a command and all that it started; a build ends its Ray itself, if it is given the time."""
    processes = [running, *running.children(recursive=True)]
    running.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        process.kill()


def _look(root: psutil.Process, usage: Usage) -> None:
    """One look at all processes of a command; one that ends meanwhile keeps what was seen last."""
    rss = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error, OSError, IndexError), process.oneshot():
                times, pid = process.cpu_times(), process.pid
                usage.cpu[pid] = times.user + times.system
                rss += process.memory_info().rss / 1e6
                usage.peak[pid] = _peak_mb(pid)
                usage.written[pid] = process.io_counters().write_chars
                if usage.role.get(pid) != "worker":  # a Ray process bears a task's name only while it works
                    usage.role[pid] = _role(process, root)
    usage.rss_at_once = max(usage.rss_at_once, rss)


def _role(process: psutil.Process, root: psutil.Process) -> str:
    if process.pid == root.pid:
        return "driver"
    return "worker" if "_shard_task" in " ".join(process.cmdline()) else "ray"


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def measure(size: Fraction, cores: int, base: Path, style: str = "cot-final") -> dict[str, Any]:
    """Make the source of one size, build and verify it, and return what was seen."""
    questions, shards = int(QUESTIONS * size), max(1, round(SHARDS * size))
    need = questions * BYTES_PER_QUESTION
    if (free := shutil.disk_usage(base).free) < 1.2 * need:
        raise SystemExit(f"Size {size} takes up to {need / 1e9:.1f} GB in {base}; {free / 1e9:.1f} GB are free.")
    with tempfile.TemporaryDirectory(prefix="mmpr-scale-", dir=base) as folder:
        began = time.monotonic()
        source = write_source(Path(folder), questions)
        made = time.monotonic() - began
        out = Path(folder) / "out"
        mmpr = [sys.executable, "-m", "mmpr_pipeline.cli"]
        config = Path(folder) / "build.json"  # JSON is YAML
        config.write_text(json.dumps({"engine": {"name": "scripted", "script": SCRIPT}}))
        flags = f"--shards {shards} --samples {SAMPLES} --no-adaptive --workers {cores} --style {style}".split()
        command = [*mmpr, "build", str(config), "--sources", str(source), "--out", str(out), *flags]
        build = watched(command, cores, Path(folder) / "build.log")
        verify = watched([*mmpr, "verify", str(out)], cores, Path(folder) / "verify.log")
        summary = json.loads((out / "summary.json").read_text())
        source_mb = (Path(folder) / "questions.parquet").stat().st_size / 1e6
        return _row(size, shards, summary, build, verify, made, source_mb)


def _row(
    size: Fraction, shards: int, summary: dict[str, Any], build: Usage, verify: Usage, made: float, source_mb: float
) -> dict[str, Any]:
    counts = summary["counts"]
    rollouts = sum(counts["rollouts"].values())
    return {
        "size": str(size),
        "questions": counts["questions"],
        "rollouts": rollouts,
        "pairs": sum(counts["pairs"].values()),
        "images": counts["images"],
        "shards": shards,
        "source_s": round(made, 1),
        "source_mb": round(source_mb, 1),
        "build_s": round(build.wall, 1),
        "build_cpu_s": round(build.cpu_seconds, 1),
        "verify_s": round(verify.wall, 1),
        "verify_cpu_s": round(verify.cpu_seconds, 1),
        "cpu_ms_per_rollout": round(1e3 * (build.cpu_seconds + verify.cpu_seconds) / rollouts, 4),
        "driver_mb": round(build.most("driver")),
        "worker_mb": round(build.most("worker")),
        "verify_mb": round(verify.most("driver")),
        "all_mb": round(build.rss_at_once),
        "output_mb": round(summary["bytes"] / 1e6, 1),
        "written_mb": round(sum(build.written.values()) / 1e6, 1),
    }


HEAD = (
    "| size | questions | rollouts | pairs | shards | build | verify | CPU ms/rollout | driver MB | worker MB "
    "| verify MB | output MB | written MB |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {row['size']} | {row['questions']:,} | {row['rollouts']:,} | {row['pairs']:,} | {row['shards']} "
        f"| {row['build_s']:,.0f} s | {row['verify_s']:,.0f} s | {row['cpu_ms_per_rollout']:.3f} "
        f"| {row['driver_mb']} | {row['worker_mb']} | {row['verify_mb']} "
        f"| {row['output_mb']:,.0f} | {row['written_mb']:,.0f} |"
    )


def main() -> None:
    """Measure each size in turn and print its row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=Fraction, nargs="+", default=[Fraction(1, 64)], help="shares of the whole")
    parser.add_argument("--cores", type=int, default=2, help="cores that the commands may use")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to write")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON lines")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    print(HEAD, flush=True)
    for size in given.size:
        row = measure(size, given.cores, given.folder)
        print(line(row), flush=True)
        if given.json:
            with given.json.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
