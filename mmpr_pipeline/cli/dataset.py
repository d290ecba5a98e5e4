"""What is done with a finished output: verify, stats, show and more."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app


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
