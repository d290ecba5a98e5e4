"""`python -m tests.chaos.damage`: damage to the files of builds, attack after attack, then a table of what came of it.

An attack takes an output in some state (rows being looked at, rollouts being sampled, finished) and damages one file
of it, or of its source: bits, ranges, the end, the whole, another file's content in its place. Then the same command is
run again. The outcome is one of

same      the very bytes of a build to which nothing happened, and `verify` finds nothing
named     the build stops with an error that says what to do
found     the build ends, and `verify` names what is wrong
silent    other bytes, and nobody says so       these three fail
raw       any other error
died      the process itself

Attacks are drawn from their numbers, so one that failed can be run alone: --first N --attacks 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tests.chaos.inline import Inline, Stopped

BATCH = 200
"""Attacks made by one process, so that the end of a process is one attack's."""
FAILURES = ("silent", "raw", "died")

Damage = Callable[[bytes, random.Random], bytes]


def flip(raw: bytes, draw: random.Random, bits: int = 1) -> bytes:
    """Some bits are others."""
    damaged = bytearray(raw)
    for _ in range(bits if raw else 0):
        bit = draw.randrange(8 * len(raw))
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _range(raw: bytes, draw: random.Random) -> tuple[int, int]:
    start = draw.randrange(len(raw) + 1)
    return start, min(len(raw), start + draw.choice((1, 16, 512, 4096)))


def cut_out(raw: bytes, draw: random.Random) -> bytes:
    """A range is gone."""
    start, stop = _range(raw, draw)
    return raw[:start] + raw[stop:]


def zero(raw: bytes, draw: random.Random) -> bytes:
    """A range is zeros, as where a file system never wrote it."""
    start, stop = _range(raw, draw)
    return raw[:start] + bytes(stop - start) + raw[stop:]


def lines(raw: bytes, draw: random.Random) -> bytes:
    """Two lines have changed places, and one is there twice."""
    parts = raw.splitlines(keepends=True)
    if len(parts) > 1:
        one, other = draw.randrange(len(parts)), draw.randrange(len(parts))
        parts[one], parts[other] = parts[other], parts[one]
        parts.insert(one, parts[other])
    return b"".join(parts)


DAMAGES: dict[str, Damage] = {
    "bit flip": flip,
    "8 bits": lambda raw, draw: flip(raw, draw, 8),
    "cut out": cut_out,
    "zeros": zero,
    "truncated": lambda raw, draw: raw[: draw.randrange(len(raw) + 1)],
    "emptied": lambda raw, draw: b"",
    "lines": lines,
}
WEIGHTS = (6, 2, 3, 3, 3, 1, 1)
SWAPS = ("swapped", "another build's", "gone")
"""What is done to a file as a whole: another file of the output, or that of another build, takes its place."""


def damage(target: Path, root: Path, draw: random.Random, twin: bytes | None = None) -> str:
    """Damage a file that lies under `root`, and say how. `twin`: the same file of another build."""
    raw = target.read_bytes()
    kind = draw.choice((*DAMAGES, *SWAPS)) if draw.random() < 0.3 else draw.choices(list(DAMAGES), WEIGHTS)[0]
    if kind == "gone":
        target.unlink()
    elif kind == "swapped":
        like = [path for path in files_below(target.parent if draw.random() < 0.7 else root) if path != target]
        if like:
            other = draw.choice(like)
            target.write_bytes(other.read_bytes())
            other.write_bytes(raw)
    elif kind == "another build's":
        target.write_bytes(twin or b"")
    else:
        target.write_bytes(DAMAGES[kind](raw, draw))
    return kind


class States:
    """Outputs in every state, made once; each attack takes a copy."""

    def __init__(self, folder: Path) -> None:
        from mmpr_pipeline.screening import chunks
        from tests.pipeline.made import files_of, make_source

        chunks.ROWS = 8  # several pieces, of a small source
        self._folder, self._files_of = folder, files_of
        source = make_source(folder / "source", questions=24, open_ended=4)
        self._settings = {
            "sources": [str(source)], "shards": 3, "in_flight": 2, "engine.name": "scripted", "sampling.samples": 4,
            "screening.decontaminate": False,
        }  # fmt: skip
        self.names: list[str] = []
        self._make("whole")
        self._make("pieces", pieces=2)
        self._make("begun", requests=0)
        for requests in (5, 14, 23):
            self._make(f"sampling {requests}", requests=requests)
        self._make("resumed", requests=4)
        self._run("resumed", requests=6)
        self._make("other", seed=7)
        self._make("other sampling", seed=7, requests=14)
        self.reference = files_of(folder / "whole")

    def _make(self, name: str, **given: Any) -> None:
        self.names.append(name)
        self._run(name, **given)

    def _run(self, name: str, seed: int = 0, **stops: int) -> None:
        settings = {**self._settings, "out": str(self._folder / name), "seed": seed}
        with suppress(Stopped):
            asyncio.run(Inline(settings, **stops).run())

    def attack(self, number: int) -> dict[str, Any]:
        """One attack and what came of it."""
        draw = random.Random(f"damage {number}")
        state = draw.choice([name for name in self.names if not name.startswith("other")])
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            out, source = Path(place) / "out", Path(place) / "source"
            shutil.copytree(self._folder / state, out)
            shutil.copytree(self._folder / "source", source)
            kinds: dict[str, list[Path]] = {}
            for path in files_below(source if draw.random() < 0.12 else out):
                kinds.setdefault(path.relative_to(place).parts[1], []).append(path)
            target = draw.choice(kinds[draw.choice(sorted(kinds))])  # journals are as often struck as pairs
            root = source if target.is_relative_to(source) else out
            how = damage(target, root, draw, self._twin(target, root))
            settings = {**self._settings, "sources": [str(source / "made.yaml")], "out": str(out), "seed": 0}
            name = target.relative_to(place).as_posix()
            told = {"attack": number, "state": state.partition(" ")[0], "file": name, "damage": how}
            expected = self.reference
            if state == "pieces" and name.startswith("source/"):  # nothing is sampled yet: it is another build's source
                expected = self._anew({**settings, "out": f"{place}/anew"})
            return {**told, **self._outcome(settings, out, expected)}

    def _anew(self, settings: dict[str, Any]) -> dict[str, bytes]:
        """Files of a build that nothing happened to; none where it cannot be made."""
        from mmpr_pipeline.core.errors import MmprError

        with suppress(MmprError):
            asyncio.run(Inline(settings).run())
        return self._files_of(Path(settings["out"]))

    def _twin(self, target: Path, root: Path) -> bytes | None:
        """The same file of a build with another seed; None of a source."""
        for other in ("other", "other sampling"):
            twin = self._folder / other / target.relative_to(root)
            if twin.is_file():
                return twin.read_bytes()
        return None

    def _outcome(self, settings: dict[str, Any], out: Path, expected: dict[str, bytes]) -> dict[str, str]:
        from mmpr_pipeline.core.errors import MmprError
        from mmpr_pipeline.dataset.review.verify import verify

        try:
            before = verify(out).problems if (out / "summary.json").exists() else []
        except MmprError as error:
            before = [error] if error.remedy else []
        except Exception as error:
            return {"outcome": "raw", "said": f"verify: {error!r}"}
        try:
            asyncio.run(Inline(settings).run())
        except MmprError as error:
            return {"outcome": "named" if error.remedy else "raw", "said": str(error)}
        except Exception as error:
            return {"outcome": "raw", "said": repr(error)}
        try:
            problems = verify(out).problems
        except Exception as error:
            return {"outcome": "raw", "said": f"verify: {error!r}"}
        same = self._files_of(out) == expected
        if problems:
            return {"outcome": "found", "said": "; ".join(f"{one.name} {one.where}" for one in problems[:3])}
        return {"outcome": "same" if same else "silent", "said": "; ".join(map(str, before[:2]))}


def files_below(folder: Path) -> list[Path]:
    """Every file that is not hidden, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


class Attacked(Protocol):
    """Outputs in every state, made once in a folder; attacks are drawn from their numbers."""

    def attack(self, number: int) -> dict[str, Any]:
        """One attack and what came of it: `attack`, `state`, `file`, `damage`, `outcome`, `said`."""


def main(states: Callable[[Path], Attacked], module: str, batch: int = BATCH) -> int:
    """Make the attacks that the command line asks for; 1 where one failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--attacks", type=int, default=1_000_000, help="most attacks")
    parser.add_argument("--first", type=int, default=1, help="number of the first attack")
    parser.add_argument("--log", type=Path, help="where every attack is written, one JSON object a line")
    parser.add_argument("--batch", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.batch:
        return _batch(states, asked.batch, asked.first, asked.attacks)
    results = campaign(asked.first, asked.attacks, asked.seconds, module, batch)
    if asked.log:
        asked.log.write_text("".join(json.dumps(result) + "\n" for result in results))
    tell(results)
    return 1 if any(result["outcome"] in FAILURES for result in results) else 0


def campaign(
    first: int, attacks: int, seconds: float, module: str = "tests.chaos.damage", batch: int = BATCH
) -> list[dict[str, Any]]:
    """Attack after attack, `batch` of them in a process of their own, for so many seconds."""
    until, results, number = time.monotonic() + seconds, list[dict[str, Any]](), first
    with tempfile.TemporaryDirectory(prefix="mmpr-damage-") as folder:
        log = Path(folder) / "log.jsonl"
        while number < first + attacks and time.monotonic() < until:
            log.write_text("")
            count = min(batch, first + attacks - number)
            command = [sys.executable, "-m", module, "--batch", str(log)]
            done = subprocess.run([*command, "--first", str(number), "--attacks", str(count)], check=False)
            made = [json.loads(line) for line in log.read_text().splitlines()]
            number += len(made)
            if done.returncode and len(made) < count:
                made.append({"attack": number, "outcome": "died", "said": f"status {done.returncode}"})
                number += 1
            results += made
            for result in made:
                if result["outcome"] in FAILURES:
                    print(json.dumps(result), flush=True)
    return results


def _batch(states: Callable[[Path], Attacked], log: Path, first: int, attacks: int) -> int:
    with tempfile.TemporaryDirectory(prefix="mmpr-damage-states-") as folder, log.open("a") as out:
        made = states(Path(folder))
        for number in range(first, first + attacks):
            out.write(json.dumps(made.attack(number)) + "\n")
            out.flush()
    return 0


def tell(results: list[dict[str, Any]]) -> None:
    """The table."""
    outcomes = ("same", "named", "found", *FAILURES)
    counted = Counter((_sort(result), result["outcome"]) for result in results)
    print(f"\n{len(results)} attacks\n{'':34s}" + "".join(f"{outcome:>8s}" for outcome in outcomes))
    for sort in sorted({sort for sort, _ in counted}):
        print(f"{sort:34s}" + "".join(f"{counted[sort, outcome] or '-':>8}" for outcome in outcomes))
    total = Counter(result["outcome"] for result in results)
    print(f"{'all':34s}" + "".join(f"{total[outcome] or '-':>8}" for outcome in outcomes))


def _sort(result: dict[str, Any]) -> str:
    """What was damaged, in words."""
    where = result.get("file", "").removeprefix("out/")
    return f"{result.get('state', '?'):9s} {where.partition('/')[0] if '/' in where else where}"


if __name__ == "__main__":
    sys.exit(main(States, "tests.chaos.damage"))
