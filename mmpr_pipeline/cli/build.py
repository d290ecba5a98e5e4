"""`mmpr build`, `top` and `engine-check`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpr_pipeline.cli.app import app, example, stop_by_signals
from mmpr_pipeline.cli.options import settings_options
from mmpr_pipeline.core.settings import PAIRS
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.pipeline.config import BuildConfig, load_config

if TYPE_CHECKING:
    from rich.console import Console

    from mmpr_pipeline.pipeline.driver import BuildView


PLAN = "Plan only"

TOP_SECONDS = 2.0


@app.command(
    epilog=example(
        "mmpr build --sources geoqa,mathvista --shards 512",
        "mmpr build --sources charts.yaml --model OpenGVLab/InternVL3-2B-hf --out charts --dry-run",
        docs="concepts.md and docs/settings.md",
    )
)
@settings_options(BuildConfig)
def build(
    flags: dict[str, object],
    config: Annotated[Path | None, typer.Argument(help="YAML file of settings; flags win over it.")] = None,
    from_rollouts: Annotated[
        str | None,
        typer.Option(help="Check and pair a finished output again, without an engine.", rich_help_panel=PAIRS),
    ] = None,
    no_decontaminate: Annotated[
        bool, typer.Option("--no-decontaminate", help="The same as --decontaminate none.", hidden=True)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with estimates, and stop.", rich_help_panel=PLAN)
    ] = False,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="One engine's tokens a second, for the estimate.", rich_help_panel=PLAN)
    ] = None,
    response_tokens: Annotated[
        float | None, typer.Option(help="Mean length of a response in tokens, for the estimate.", rich_help_panel=PLAN)
    ] = None,
    images: Annotated[
        int, typer.Option(help="Images of a question, for the estimate.", min=0, rich_help_panel=PLAN)
    ] = 1,
) -> None:
    """Questions -> rollouts -> verdicts -> pairs -> shards. After any stop, run the same command again to go on."""
    from mmpr_pipeline.core.schemas import leave_pandas_out
    from mmpr_pipeline.pipeline.choosing import with_model

    leave_pandas_out()
    if no_decontaminate:
        flags["screening.decontaminate"] = "none"
    if from_rollouts:
        from mmpr_pipeline.core.errors import ConfigError
        from mmpr_pipeline.pipeline.driver import run_plan
        from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan

        if config is not None:
            raise ConfigError(
                "--from-rollouts takes its settings from the output.", remedy="Give flags instead of a file."
            )
        out = str(flags["out"] or f"{from_rollouts.rstrip('/')}-again")
        plan = make_rebuild_plan(from_rollouts, {**flags, "out": out})
        print(f"Output: {out}")
        show_build(lambda view: run_plan(plan, view), out)
        return
    chosen = with_model(load_config(config, flags))
    # Which model, where to, and what to be warned of: the first lines of a build.
    from rich.console import Console

    console = Console()
    for line in chosen.lines:
        style = "bold yellow" if line.startswith(("Rehearsal", "This is a rehearsal")) else ""
        console.print(line, style=style, markup=False, highlight=False)
    for line in chosen.warnings:
        console.print(f"Warning: {line}", style="bold yellow", markup=False, highlight=False)
    console.print(f"Output: {chosen.config.out}", markup=False, highlight=False)
    if dry_run:
        _dry_run(chosen.config, tokens_per_second, response_tokens, images)
        return
    from mmpr_pipeline.pipeline.driver import run_build

    settings = _agreed(chosen.config)
    show_build(lambda view: run_build(settings, view), settings.out)


@app.command(epilog=example("mmpr top out/geoqa-mathvista --watch 5", docs="clusters.md"))
def top(
    out: Annotated[str, typer.Argument(help="Output of a build, running or not.")],
    watch: Annotated[
        float | None,
        typer.Option(
            help=r"Look again every this many seconds. \[default: 2 on a terminal; elsewhere one look only]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, once.")] = False,
) -> None:
    """How far a build is, how busy its engines are, what is rejected, and its last log lines."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.live import Live

    from mmpr_pipeline.pipeline.watch.status import read_status
    from mmpr_pipeline.pipeline.watch.top import status_text
    from mmpr_pipeline.storage import open_store

    store = open_store(out)
    seen = read_status(store)
    if as_json:
        print(json.dumps(asdict(seen)))
        return
    console = Console()
    if watch is None and not console.is_terminal:
        console.print(status_text(seen), highlight=False)
        return
    with Live(status_text(seen), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while seen.state == "running":
            time.sleep(max(watch or TOP_SECONDS, 0.5))
            seen = read_status(store)
            live.update(status_text(seen), refresh=True)


def _dry_run(
    settings: BuildConfig, tokens_per_second: float | None, response_tokens: float | None, images: int
) -> None:
    from rich.console import Console

    from mmpr_pipeline.pipeline.config import absolute_build_paths
    from mmpr_pipeline.pipeline.plans.evaluation_sets import fetch_sentence, to_fetch
    from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
    from mmpr_pipeline.pipeline.watch.estimate import estimate_build, estimate_table

    console = Console()
    if settings.screening.decontaminate in ("ask", "all"):  # a plan fetches nothing but what it must read itself
        if missing := to_fetch(settings):
            console.print(fetch_sentence(missing), markup=False, highlight=False)
        settings = settings.model_copy(
            update={"screening": settings.screening.model_copy(update={"decontaminate": "cached"})}
        )
    plan = make_build_plan(absolute_build_paths(settings), only_shown=True)
    console.print(estimate_table(plan, estimate_build(plan, tokens_per_second, response_tokens, images)))


def _agreed(settings: BuildConfig) -> BuildConfig:
    """The settings after what is to be fetched for decontamination was announced, and on a terminal agreed to."""
    from rich.console import Console
    from rich.prompt import Prompt

    from mmpr_pipeline.pipeline.output import has_begun
    from mmpr_pipeline.pipeline.plans.evaluation_sets import fetch_sentence, to_fetch
    from mmpr_pipeline.storage import open_store

    if settings.screening.decontaminate not in ("ask", "all") or has_begun(open_store(settings.out)):
        return settings
    missing = to_fetch(settings)
    if not missing:
        return settings
    console = Console()
    console.print(fetch_sentence(missing), markup=False, highlight=False)
    choice: str = "all"
    if settings.screening.decontaminate == "ask" and console.is_terminal and sys.stdin.isatty():
        asked = "Fetch all of them, compare with what is here (cached), or with none?"
        choice = Prompt.ask(asked, console=console, choices=["all", "cached", "none"], default="all")
    return settings.model_copy(update={"screening": settings.screening.model_copy(update={"decontaminate": choice})})


class WarningView:
    """A view that also warns where hardly any answer is right."""

    def __init__(self, view: BuildView, console: Console) -> None:
        from mmpr_pipeline.pipeline.choosing import FewRight

        self._view, self._console, self._watch = view, console, FewRight()
        self.stage, self.planned = view.stage, view.planned

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """See `BuildView`."""
        for line in self._watch.warnings(tally):
            self._console.print(f"Warning: {line}", style="bold yellow", markup=False, highlight=False)
        self._view.progress(finished, tally)


def show_build(work: Callable[[BuildView], BuildSummary], out: str) -> None:
    """Do a build before the user's eyes, and print its summary."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.terminal import summary_page
    from mmpr_pipeline.pipeline.watch.console import BuildConsole

    stop_by_signals()
    console = Console()
    try:
        with BuildConsole(console) as view:
            summary = work(WarningView(view, console))
    except KeyboardInterrupt:
        console.print("Stopped. Every finished rollout is kept: the same command goes on from here.")
        raise
    console.print(summary_page(summary))
    typed = quote(out)
    console.print(
        f"[bold]Next[/]  mmpr show {typed}    a few pairs, side by side\n"
        f"      mmpr view {typed}    all of them in a web page\n"
        f"      mmpr report {typed}  one page of figures and examples\n"
        f"      mmpr verify {typed}  hashes, schemas, counts",
        highlight=False,
    )


@app.command(
    "engine-check",
    epilog=example("mmpr engine-check OpenGVLab/InternVL3-2B-hf --samples 16", docs="clusters.md"),
)
@settings_options(EngineSettings, leave_out=("model", "rollouts"))
def engine_check(
    flags: dict[str, object],
    model: Annotated[
        str | None, typer.Argument(help=r"Hub id or directory of the model. \[default: that of --config, or nano]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of a build, for its engine settings.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="Questions, each with a picture.")] = 8,
    samples: Annotated[int, typer.Option(min=1, help="Rollouts of each question.")] = 32,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest response, in tokens.")] = 256,
    address: Annotated[str, typer.Option(help="Ray: local, auto or ray://HOST:PORT.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Whether an engine works here: loads, samples twice, continues without the image, is killed and comes back.

    Prints a line for each with pass or FAIL, and ends with status 1 where one fails. Send the page with a bug report.
    """
    import asyncio
    import json
    from dataclasses import asdict

    from rich.console import Console

    from mmpr_pipeline.core.settings import group_of, load_settings, read_yaml
    from mmpr_pipeline.engines.check import CheckLoad, Line, check_engine
    from mmpr_pipeline.engines.start import actor_count

    from_file = group_of(read_yaml(config), "engine") if config else {}
    given_flags = {**flags, "model": model}
    settings = load_settings(
        EngineSettings,
        None,
        {**from_file, **{name: value for name, value in given_flags.items() if value is not None}},
        "mmpr engine-check",
    )
    console = Console(soft_wrap=True)

    def notify(line: Line) -> None:
        if not as_json:
            console.print(f"{line.state}  {line.name:28}{line.text}", markup=False, highlight=False)

    session: Any = nullcontext()
    if actor_count(settings):
        from mmpr_pipeline.cluster.session import ray_session

        session = ray_session(address)
    with session:
        lines = asyncio.run(check_engine(settings, CheckLoad(questions, samples, max_tokens), notify))
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    if any(line.state == "FAIL" for line in lines):
        raise typer.Exit(1)
