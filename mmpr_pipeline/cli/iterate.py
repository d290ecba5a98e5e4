"""`mmpr iterate` and `merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app, example, stop_by_signals


@app.command(epilog=example("mmpr iterate examples/iterate.yaml --rounds 3", docs="concepts.md"))
def iterate(
    config: Annotated[Path, typer.Argument(help="YAML file of settings: build, train, evaluate; flags win over it.")],
    out: Annotated[str | None, typer.Option(help="Directory of all rounds.")] = None,
    model: Annotated[str | None, typer.Option(help=r"The model to begin with. \[default: nano]")] = None,
    rounds: Annotated[int | None, typer.Option(help=r"Most rounds. \[default: 3]")] = None,
) -> None:
    """Build, train, evaluate on held-out questions, and again with the better model, until accuracy no longer rises."""
    from rich.console import Console

    from mmpr_pipeline.study.iterate.run import PAGE, run_iterate
    from mmpr_pipeline.study.iterate.settings import load_iterate_config

    settings = load_iterate_config(config, {"out": out, "model": model, "rounds": rounds})
    console = Console()
    stop_by_signals()
    try:
        results = run_iterate(settings, lambda told: console.print(told, highlight=False))
    except KeyboardInterrupt:
        console.print("Stopped. What is done is kept: the same command goes on from here.")
        raise
    best = results["best"]
    console.print(f"Ended: {results['stopped']}. Best: round {best['round']}, {best['model']}", highlight=False)
    console.print(f"[bold]Next[/]  open {settings.out}/{PAGE}", highlight=False)


@app.command(epilog=example("mmpr merge out/one out/two --out out/both", docs="concepts.md"))
def merge(
    outputs: Annotated[list[str], typer.Argument(help="Finished outputs of `mmpr build`, two or more.")],
    out: Annotated[str, typer.Option(help="New output directory or s3://bucket/prefix.")],
    strategies: Annotated[
        str | None, typer.Option(help=r"Pairing strategies by commas. \[default: those of the first output]")
    ] = None,
    max_pairs: Annotated[int | None, typer.Option(help="Most correctness pairs a question.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of pairing.")] = None,
    workers: Annotated[int | None, typer.Option(help=r"Shards worked on at once. \[default: the CPUs]")] = None,
) -> None:
    """Several outputs as one: each question once, with the rollouts of all, paired again without an engine."""
    from mmpr_pipeline.cli.build import show_build
    from mmpr_pipeline.pipeline.driver import run_plan
    from mmpr_pipeline.pipeline.plans.merged import make_merge

    given = {
        "out": out,
        "pairing.strategies": [name.strip() for name in strategies.split(",")] if strategies else None,
        "pairing.max_pairs": max_pairs,
        "seed": seed,
        "workers": workers,
    }
    plan = make_merge(outputs, given)
    show_build(lambda view: run_plan(plan, view), out)
