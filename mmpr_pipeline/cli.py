"""The command `mmpr`: a thin face. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

app = typer.Typer(
    name="mmpr",
    help="Build multimodal preference data from your own questions, and train on it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
sources_app = typer.Typer(no_args_is_help=True, help="The catalog of question sources, and your own declarations.")
app.add_typer(sources_app, name="sources")


def main() -> None:
    """Run `mmpr`; an error made on purpose is printed without a traceback and ends with status 1."""
    from mmpr_pipeline.errors import MmprError

    try:
        app(standalone_mode=False)
    except MmprError as error:
        print(f"mmpr: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("mmpr: stopped.", file=sys.stderr)
        sys.exit(130)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except Exception as error:  # click's usage errors carry their own message and exit code
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(error.exit_code)
        raise


def _version(wanted: bool) -> None:
    if wanted:
        from mmpr_pipeline import __version__

        print(f"mmpr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def build(
    config: Annotated[Path | None, typer.Argument(help="YAML file of settings; flags win over it.")] = None,
    sources: Annotated[str | None, typer.Option(help="Catalog names, groups, declaration files; by commas.")] = None,
    out: Annotated[str | None, typer.Option(help="Output directory or s3://bucket/prefix.")] = None,
    shards: Annotated[int | None, typer.Option(help="Shards; each takes 1/N of every source. [default: 8]")] = None,
    engine: Annotated[str | None, typer.Option(help="vllm, replay or scripted. [default: vllm]")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id or directory; `nano` is embedded. [default: nano]")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a Hub model.")] = None,
    rollouts: Annotated[str | None, typer.Option(help="For replay: JSONL file of recorded rollouts.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Where relative paths in declarations start.")] = None,
    samples: Annotated[int | None, typer.Option(help="Most rollouts for each question. [default: 32]")] = None,
    adaptive: Annotated[
        bool | None,
        typer.Option("--adaptive/--no-adaptive", help="Stop early where more would not help. [default: on]"),
    ] = None,
    max_pairs: Annotated[int | None, typer.Option(help="Most correctness pairs a question. [default: 15]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens. [default: 2048]")] = None,
    temperature: Annotated[float | None, typer.Option(help="Softmax temperature. [default: 1.0]")] = None,
    style: Annotated[str | None, typer.Option(help="cot-final, cot-boxed or direct. [default: cot-final]")] = None,
    limit: Annotated[int | None, typer.Option(help="Most rows of each source.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of sampling and pairing. [default: 0]")] = None,
    address: Annotated[str | None, typer.Option(help="Ray: local, auto or ray://HOST:PORT. [default: local]")] = None,
    actors: Annotated[int | None, typer.Option(help="Engine actors. [default: 1 for vllm]")] = None,
    tensor_parallel: Annotated[int | None, typer.Option(help="GPUs for each engine. [default: 1]")] = None,
    workers: Annotated[int | None, typer.Option(help="Shards worked on at once. [default: the CPUs]")] = None,
    in_flight: Annotated[int | None, typer.Option(help="Questions in flight for each worker. [default: 64]")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Allow code shipped with the model to run.")] = False,
    from_rollouts: Annotated[
        str | None, typer.Option(help="Check and pair a finished dataset again, without an engine.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the plan with estimates, and stop.")] = False,
    tokens_per_second: Annotated[float | None, typer.Option(help="One engine's rate, for the estimate.")] = None,
) -> None:
    """Questions -> rollouts -> verdicts -> pairs -> shards. Rerun the same command to go on after any stop."""
    from mmpr_pipeline.config import load_config

    given = {
        "sources": [s.strip() for s in sources.split(",") if s.strip()] if sources else None,
        "out": out,
        "shards": shards,
        "limit": limit,
        "seed": seed,
        "data_root": data_root,
        "address": address,
        "workers": workers,
        "in_flight": in_flight,
        "engine.name": engine,
        "engine.model": model,
        "engine.revision": revision,
        "engine.rollouts": rollouts,
        "engine.actors": actors,
        "engine.tensor_parallel": tensor_parallel,
        "engine.trust_remote_code": True if trust_remote_code else None,
        "sampling.samples": samples,
        "sampling.adaptive": adaptive,
        "sampling.style": style,
        "sampling.decoding.max_tokens": max_tokens,
        "sampling.decoding.temperature": temperature,
        "pairing.max_pairs": max_pairs,
    }
    if from_rollouts:
        _rework(from_rollouts, config, given)
        return
    settings = load_config(config, given)
    _dry_run(settings, tokens_per_second) if dry_run else _build(settings)


def _dry_run(settings: Any, tokens_per_second: float | None) -> None:
    from rich.console import Console

    from mmpr_pipeline.build.driver import absolute
    from mmpr_pipeline.build.estimate import estimate, render
    from mmpr_pipeline.build.plan import make_plan

    plan = make_plan(absolute(settings))
    Console().print(render(plan, estimate(plan, tokens_per_second)))


def _rework(before: str, config: Path | None, given: dict[str, Any]) -> None:
    from mmpr_pipeline.build.driver import run_plan
    from mmpr_pipeline.build.rework import make_rework
    from mmpr_pipeline.errors import ConfigError

    if config is not None or given["out"] is None:
        raise ConfigError("--from-rollouts takes its settings from the dataset.", remedy="Give flags, and --out.")
    plan = make_rework(before, given)
    _show(lambda view: run_plan(plan, view), given["out"])


def _build(settings: Any) -> None:
    from mmpr_pipeline.build.driver import run_build

    _show(lambda view: run_build(settings, view), settings.out)


def _show(work: Callable[[Any], dict[str, Any]], out: str) -> None:
    """Do a build before the user's eyes, and print its summary."""
    from rich.console import Console

    from mmpr_pipeline.build.view import ConsoleView
    from mmpr_pipeline.dataset.summary import render

    # A scheduler stops a job by SIGTERM, and a background job is born with SIGINT ignored: both stop it cleanly.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    try:
        with ConsoleView(console) as view:
            summary = work(view)
    except KeyboardInterrupt:
        console.print("Stopped. Every finished rollout is kept: the same command goes on from here.")
        raise
    console.print(render(summary))
    console.print(
        f"[bold]Next[/]  mmpr show {out}    a few pairs, side by side\n"
        f"      mmpr verify {out}  hashes, schemas, counts\n"
        f"      mmpr stats {out}   where the pairs come from",
        highlight=False,
    )


@app.command()
def verify(out: Annotated[str, typer.Argument(help="Output of a build.")]) -> None:
    """Check hashes, schemas, counts, and that every image and question named is there."""
    from rich.console import Console

    from mmpr_pipeline.dataset.verify import render
    from mmpr_pipeline.dataset.verify import verify as run

    report = run(out)
    Console().print(render(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def stats(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Pairs by source and strategy, solve rates, lengths, and why questions have no pair."""
    from rich.console import Console

    from mmpr_pipeline.dataset.stats import render
    from mmpr_pipeline.dataset.stats import stats as compute

    found = compute(out)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        Console().print(render(found))


@app.command()
def show(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    number: Annotated[int, typer.Option("--number", "-n", help="Pairs to show.")] = 3,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
) -> None:
    """A few pairs: question, chosen and rejected side by side, what they share dimmed."""
    from rich.console import Console

    from mmpr_pipeline.dataset.inspect import show_pairs

    show_pairs(out, number, seed, Console())


@app.command()
def check(
    cases: Annotated[Path, typer.Argument(help="JSONL: id, kind, gold, and response and/or prediction.")],
    out: Annotated[Path | None, typer.Option(help="JSONL of verdicts.")] = None,
    source: Annotated[str | None, typer.Option("--from", help="Check `response` or `prediction`.")] = None,
    explain: Annotated[str | None, typer.Option(help="Show how the case with this id was decided.")] = None,
) -> None:
    """Check answers against their golds, with a table of accuracy where cases carry labels."""
    from rich.console import Console

    from mmpr_pipeline.checking import cases as checking
    from mmpr_pipeline.checking.table import table_of
    from mmpr_pipeline.errors import ConfigError

    if source not in (None, "response", "prediction"):
        raise ConfigError(f"--from {source} is not known.", remedy="Use --from response or --from prediction.")
    level = cast("Literal['response', 'prediction'] | None", source)
    if explain is None:
        Console().print(table_of(checking.run_cases(cases, out, level)))
        return
    case = checking.find_case(cases, explain, level)
    if case is None:
        raise ConfigError(f"{cases} has no case {explain!r}.", remedy="Give the id of one of its lines.")
    print(checking.explain(case))


@sources_app.command("list")
def sources_list() -> None:
    """The catalog."""
    from rich.console import Console
    from rich.table import Table

    from mmpr_pipeline.sources.preview import LIST_COLUMNS, list_sources

    table = Table(*LIST_COLUMNS)
    for row in list_sources():
        table.add_row(*row)
    Console().print(table)


@sources_app.command("show")
def sources_show(name: Annotated[str, typer.Argument(help="Catalog name or declaration file.")]) -> None:
    """One declaration, with what could not be confirmed about it."""
    from mmpr_pipeline.sources.preview import show_source

    print(show_source(name))


@sources_app.command("preview")
def sources_preview(
    name: Annotated[str, typer.Argument(help="Catalog name or declaration file.")],
    number: Annotated[int, typer.Option("--number", "-n", help="Rows to show.")] = 3,
    data_root: Annotated[str | None, typer.Option(help="Where the declaration's relative paths start.")] = None,
) -> None:
    """The first rows as questions, or why they are not."""
    from mmpr_pipeline.sources.preview import preview_source

    for text in preview_source(name, number, data_root):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
