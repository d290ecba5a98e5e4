"""`mmpr eval` and `leaderboard`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpr_pipeline.cli.app import app, example
from mmpr_pipeline.cli.options import names, settings_options
from mmpr_pipeline.cli.progress import quiet_engine, shown
from mmpr_pipeline.evaluation.settings import EvalConfig, load_eval_config

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mmpr_pipeline.evaluation.results import BenchmarksEvaluation, SourcesEvaluation


_JUDGED = {"rich_help_panel": "Judge and harness"}


@app.command(
    name="eval",
    epilog=example(
        "mmpr eval runs/pairs/best --benchmarks paper --mode cot,direct --against nano --out scores",
        docs="evaluation.md and docs/settings.md",
    ),
)
@settings_options(EvalConfig, leave_out=("engine.model", "judge"), defaults={"engine.actors": "0: in this process"})
def evaluate(
    flags: dict[str, object],
    model: Annotated[str, typer.Argument(help="Hub id or directory; `nano` is the embedded one.")] = "nano",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags win over it.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help=r"cot, direct; for benchmarks both, by commas. \[default: cot]", rich_help_panel="What to measure"
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="The judge: http://HOST:PORT/v1#MODEL; its key is $OPENAI_API_KEY.", **_JUDGED)
    ] = None,
    judge_prompts: Annotated[
        str | None, typer.Option(help="Folder of judge prompts in place of ours.", **_JUDGED)
    ] = None,
    judge_one_order: Annotated[
        bool, typer.Option("--judge-one-order", help="Ask pairwise judges once only.", **_JUDGED)
    ] = False,
    harness: Annotated[str | None, typer.Option(help="lmms-eval: let it run the tasks that it has.", **_JUDGED)] = None,
    harness_python: Annotated[
        str | None, typer.Option(help="Python of the environment that has the harness.", **_JUDGED)
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the benchmarks and their groups.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model on benchmarks, each by its own metric, or on sources; alone or against another model."""
    from rich.console import Console

    console = Console()
    if list_all:
        _list(console)
        return
    modes = names(mode) or []
    settings = load_eval_config(
        config,
        {
            **flags,
            "engine.model": model,
            "engine.name": flags["engine.name"] or ("replay" if flags["engine.rollouts"] else None),
            "mode": modes[0] if modes else None,
            "modes": modes if len(modes) > 1 else None,
            "judge": _judge(judge, judge_prompts, judge_one_order),
        },
    )
    results, table = _run(settings, harness, harness_python, console, quiet=as_json)
    if as_json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        console.print(table)
        if settings.out and settings.benchmarks:
            console.print(
                f"Written to {settings.out}: table.md, results.json, table.svg, and every scored response.",
                markup=False,
            )


def _run(
    settings: EvalConfig, harness: str | None, python: str | None, console: Console, *, quiet: bool
) -> tuple[SourcesEvaluation | BenchmarksEvaluation, RenderableType]:
    """The results, and their table for the terminal."""
    if settings.against and settings.engine.name == "vllm":
        from mmpr_pipeline.models.resolve import resolve_model

        for name in (settings.engine.model, settings.against):  # both, before the first one is loaded and asked
            resolve_model(name, settings.engine.revision)
    if not settings.benchmarks:
        from mmpr_pipeline.evaluation.run import results_tables, run_eval

        with quiet_engine(console) as terminal, shown(terminal, redirects=False) as progress:
            on_sources = run_eval(settings, progress)
        return on_sources, results_tables(on_sources)
    from mmpr_pipeline.evaluation.comparison import table
    from mmpr_pipeline.evaluation.running.run import run_benchmarks, write_tables

    with quiet_engine(console) as terminal, shown(terminal, redirects=False) as progress:
        if harness is not None:
            from mmpr_pipeline.evaluation.harness.lmms import run_harness

            found = run_harness(settings, harness, python)
        else:
            found = run_benchmarks(settings, progress, lambda line: None if quiet else terminal.print(line))
    if settings.out:
        write_tables(found, settings.out)
    return found, table.comparison_table(found)


def _judge(address: str | None, prompts: str | None, one_order: bool) -> dict[str, object] | None:
    """The settings of a judge that is written as URL#MODEL."""
    from mmpr_pipeline.core.errors import ConfigError

    if address is None:
        return None
    url, mark, model = address.partition("#")
    if not mark or not model:
        raise ConfigError(f"--judge {address}: no model is named.", remedy="Write http://HOST:PORT/v1#MODEL.")
    engine = {"name": "openai", "base_url": url, "model": model, "actors": 0}
    return {"engine": engine, "both_orders": not one_order, **({"prompts": prompts} if prompts else {})}


def _list(console: Console) -> None:
    from rich.table import Table

    from mmpr_pipeline.evaluation.benchmarks import catalog

    table = Table(title="benchmarks; any source with answers is one as well")
    for heading in ("name", "title", "groups", "metric", "rows", "judge"):
        table.add_column(heading, overflow="fold")
    for name, each in catalog.known().items():
        rows = f"{each.rows_expected:,}" if each.rows_expected else ""
        table.add_row(name, each.title, ", ".join(each.groups), each.metrics[0], rows, each.official_judge or "")
    console.print(table)


@app.command(epilog=example("mmpr leaderboard scores-nano scores-trained --out board.md", docs="evaluation.md"))
def leaderboard(
    results: Annotated[list[str], typer.Argument(help="Directories of `mmpr eval --benchmarks … --out`.")],
    out: Annotated[Path | None, typer.Option(help="Write the board as Markdown.")] = None,
) -> None:
    """Show several models side by side, from the results of their evaluations."""
    from rich.console import Console

    from mmpr_pipeline.evaluation.comparison.leaderboard import (
        leaderboard_markdown,
        leaderboard_table,
        merged,
        read_results,
    )

    rows = merged([read_results(place) for place in results])
    Console().print(leaderboard_table(rows))
    if out:
        out.write_text(leaderboard_markdown(rows), "utf-8")
