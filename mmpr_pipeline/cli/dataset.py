"""What is done with a finished output: verify, stats, show and more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app
from mmpr_pipeline.cli.progress import told


@app.command()
def verify(out: Annotated[str, typer.Argument(help="Output of a build.")]) -> None:
    """Check hashes, schemas, counts, and that every image and question named is there."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.terminal import verify_page
    from mmpr_pipeline.dataset.review.verify import verify as run

    report = run(out)
    Console().print(verify_page(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def stats(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Pairs by source and strategy, solve rates, lengths, and why questions have no pair."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.stats import stats as compute
    from mmpr_pipeline.dataset.review.terminal import stats_page

    found = compute(out)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        Console().print(stats_page(found))


@app.command()
def show(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    number: Annotated[int, typer.Option("--number", "-n", help="Pairs to show.")] = 3,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
) -> None:
    """A few pairs: question, chosen and rejected side by side, what they share dimmed."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.show import show_pairs

    show_pairs(out, number, seed, Console())


@app.command()
def publish(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    repo: Annotated[str, typer.Option(help="ORG/NAME on the Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a new data set.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to publish to. [default: main]")] = None,
    files: Annotated[int | None, typer.Option(help="Parquet files. [default: one for each shard]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, with the card.")] = False,
) -> None:
    """To the Hub: Parquet with images, and a card. Rerun to go on. The token is HF_TOKEN or the Hub's own login."""
    from rich.console import Console

    from mmpr_pipeline.dataset.publish.run import publish as send
    from mmpr_pipeline.dataset.publish.run import render

    console = Console()
    with told(console) as progress:
        found = send(out, repo, private=not public, revision=revision, dry_run=dry_run, files=files, progress=progress)
    if dry_run:
        print(found.card)
    console.print(render(found))


@app.command()
def export(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    to: Annotated[str, typer.Option(help="trl, internvl, swift, llamafactory, webdataset or parquet.")],
    dest: Annotated[Path, typer.Option(help="New directory to write to.")],
) -> None:
    """In the format of another trainer, images written once."""
    from rich.console import Console

    from mmpr_pipeline.dataset.export import export as write
    from mmpr_pipeline.dataset.export import render

    console = Console()
    with told(console) as progress:
        found = write(out, to, dest, progress=progress)
    console.print(render(found))


@app.command()
def report(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    path: Annotated[Path | None, typer.Option(help="The page. [default: NAME-report.html here]")] = None,
    pairs: Annotated[int, typer.Option(help="Pairs in the gallery.")] = 24,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead.")] = False,
) -> None:
    """One self-contained HTML page: the way from questions to pairs, lengths, solve rates, and a gallery of pairs."""
    from rich.console import Console

    if as_json:
        from mmpr_pipeline.report.pages.figures import report_figures

        print(json.dumps(report_figures(out), indent=2, ensure_ascii=False))
        return
    from mmpr_pipeline.report.pages.page import report as write

    with told(Console()) as progress:
        page = write(out, path, pairs=pairs, seed=seed, progress=lambda done, of: progress("reading shards", done, of))
    print(page)


@app.command()
def view(
    out: Annotated[str, typer.Argument(help="Output of a build; unfinished ones too.")],
    port: Annotated[int, typer.Option(help="Port on this machine. [default: a free one]")] = 0,
) -> None:
    """A local web page over the shards: search, all rollouts of a question, and marks for verdicts that are wrong."""
    from mmpr_pipeline.report.viewer.server import view as serve

    serve(out, port=port, ready=lambda address: print(f"mmpr: {address}   (Ctrl-C stops)", flush=True))
