"""How much of the package one question and one training step pass through: files, functions and changes of file.

    python bench/walks.py [--list]

A question: the plan of a build and its shard, one row of a JSONL file with an image beside it and a number as its gold,
four scripted rollouts, in this process, without Ray; what claims the output before and sums it up after are lines of
their own. A step: one of training the embedded model on the pairs of a small build. Functions of this package alone are
counted, each once, and none that only runs because a module is imported. `--list` names those of the question and of
the step: file, line, name, lines, and how often the package uses the name.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from PIL import Image

import mmpr_pipeline
from mmpr_pipeline.pipeline.config import absolute_build_paths, load_config
from mmpr_pipeline.pipeline.output import claim_output, finish
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.storage import open_store

ROOT = Path(mmpr_pipeline.__file__).parent


class Walk:
    """What was called while `record` was on."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, int]] = set()
        """File and first line of each."""
        self.switches, self._last = 0, ""

    def record(self, work: Callable[[], Any]) -> Any:
        """The result of `work`; the calls that it makes are counted, in every thread."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            return work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def __add__(self, other: Walk) -> Walk:
        both = Walk()
        both.functions, both.switches = self.functions | other.functions, self.switches + other.switches
        return both

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(ROOT)) or code.co_name.startswith("<"):
            return
        file = code.co_filename.removeprefix(f"{ROOT}/")
        if (file, code.co_firstlineno) not in self.functions:
            if not code.co_flags & inspect.CO_OPTIMIZED or _imports(frame):  # the body of a class is no function
                return
            self.functions.add((file, code.co_firstlineno))
        self.switches += file != self._last
        self._last = file

    def __str__(self) -> str:
        files = {file for file, _ in self.functions}
        return f"{len(files)} files, {len(self.functions)} functions, {self.switches} changes of file"


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def source(folder: Path) -> str:
    """A source of one row."""
    Image.new("RGB", (64, 48), "white").save(folder / "apples.png")
    row = {"id": "1", "question": "How many apples are there?", "image": "apples.png", "answer": "7"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    declaration = {"name": "apples", "description": "Apples.", "files": ["rows.jsonl"], "kind": "number",
                   "columns": {name: name for name in row}}  # fmt: skip
    (folder / "apples.yaml").write_text(json.dumps(declaration))
    return str(folder / "apples.yaml")


def build(name: str, out: Path) -> dict[str, Walk]:
    """The walks of a small build from a source, by what they do."""
    walks: dict[str, Walk] = defaultdict(Walk)
    settings = {"sources": [name], "out": str(out), "limit": 8, "shards": 1, "screening.decontaminate": "none",
                "engine.name": "scripted", "sampling.samples": 4}  # fmt: skip
    plan: Plan = walks["plan"].record(lambda: make_build_plan(absolute_build_paths(load_config(None, settings)), None))
    store = open_store(plan.config.out)

    async def shard() -> None:
        await work_shard(plan, 0, await plan.start(), lambda tally: None)

    walks["claim"].record(lambda: claim_output(store, plan))
    walks["shard"].record(lambda: asyncio.run(shard()))
    walks["finish"].record(lambda: finish(store, plan, {"seconds": 0.0, "shards": 1}))
    return walks


def train(data: Path, run: Path) -> Walk:
    """One step on the pairs of a build."""
    from mmpr_pipeline.training.run.loop import train as train_pairs
    from mmpr_pipeline.training.settings import load_train_config

    settings = {"data": str(data), "run_dir": str(run), "model": "nano", "batch": 4, "max_steps": 1, "held_out": 0,
                "launch.device": "cpu"}  # fmt: skip
    walk = Walk()
    walk.record(lambda: train_pairs(load_train_config(None, settings)))
    return walk


def listed(walk: Walk) -> list[str]:
    """A line for each function of a walk."""
    uses: Counter[str] = Counter()
    defined: dict[tuple[str, int], ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    uses[name] += 1
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                    defined[str(path.relative_to(ROOT)), first] = node
    lines = []
    for place in sorted(walk.functions):
        node = defined[place]
        size = (node.end_lineno or 0) - node.lineno + 1
        lines.append(f"{place[0]}:{place[1]} {node.name}, {size} lines, used {uses[node.name]}")
    return lines


def main() -> None:
    """Print the walks."""
    with tempfile.TemporaryDirectory(prefix="walks-") as folder:
        walks = build(source(Path(folder)), Path(folder) / "one")
        way = walks["plan"] + walks["shard"]
        if "--list" in sys.argv[1:]:
            print("\n".join(listed(way)))
        print(f"one question: {way} (its plan: {walks['plan']}; its shard: {walks['shard']})")
        print(f"beside it, the claim of the output: {walks['claim']}; the end of the build: {walks['finish']}")
        build("nano_grid", Path(folder) / "some")
        step = train(Path(folder) / "some", Path(folder) / "run")
        if "--list" in sys.argv[1:]:
            print("\n".join(listed(step)))
        print(f"one training step: {step}")


if __name__ == "__main__":
    main()
