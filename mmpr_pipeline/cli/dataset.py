"""What is done with a finished output: verify, stats, show and more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app, example
from mmpr_pipeline.cli.progress import shown


@app.command(epilog=example("mmpr verify out/geoqa-mathvista", docs="reliability.md"))
def verify(out: Annotated[str, typer.Argument(help="Output of a build.")]) -> None:
    """Check hashes, schemas, counts, and that every image and question named is there."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.terminal import verify_page
    from mmpr_pipeline.dataset.review.verify import verify as run

    report = run(out)
    Console().print(verify_page(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command(epilog=example("mmpr stats out/geoqa-mathvista", docs="concepts.md"))
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


@app.command(epilog=example("mmpr show out/geoqa-mathvista -n 5", docs="concepts.md"))
def show(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="Pairs to show.")] = 3,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
) -> None:
    """A few pairs: question, chosen and rejected side by side, what they share dimmed."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.show import show_pairs

    show_pairs(out, number, seed, Console())


@app.command(epilog=example("mmpr publish out/geoqa-mathvista --repo ORG/NAME --dry-run", docs="publishing.md"))
def publish(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    repo: Annotated[str, typer.Option(help="ORG/NAME on the Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a new data set.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to publish to. \\[default: main]")] = None,
    files: Annotated[int | None, typer.Option(min=1, help="Parquet files. \\[default: one for each shard]")] = None,
    with_viewer: Annotated[
        bool, typer.Option("--with-viewer", help="The viewer, too, as the static Space ORG/NAME-viewer.")
    ] = False,
    allow_rehearsal: Annotated[
        bool, typer.Option("--allow-rehearsal", help="Publish an output that the embedded toy model made.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, with the card.")] = False,
) -> None:
    """To the Hub: Parquet with images, and a card. Rerun to go on. The token is HF_TOKEN or the Hub's own login."""
    from rich.console import Console

    from mmpr_pipeline.dataset.publish.run import publication_table
    from mmpr_pipeline.dataset.publish.run import publish as send

    console = Console()
    with shown(console) as progress:
        found = send(
            out,
            repo,
            private=not public,
            revision=revision,
            dry_run=dry_run,
            files=files,
            allow_rehearsal=allow_rehearsal,
            progress=progress,
        )
    if dry_run:
        print(found.card)
    console.print(publication_table(found))
    if with_viewer and not dry_run:
        from mmpr_pipeline.report.viewer.bundle import publish_viewer

        with shown(console) as progress:
            space = publish_viewer(out, f"{repo}-viewer", private=not public, progress=progress)
        print(f"viewer: {space}")


@app.command(epilog=example("mmpr export out/geoqa-mathvista --to trl", docs="training.md"))
def export(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    to: Annotated[
        str,
        typer.Option(
            help="trl, internvl, swift, llamafactory, nemo-rl, openrlhf, webdataset or parquet; rl: prompts; steps."
        ),
    ],
    dest: Annotated[
        Path | None, typer.Option("--out", help=r"New directory to write to. \[default: NAME-TO]", show_default=False)
    ] = None,
    solve_rate: Annotated[
        str | None, typer.Option(help=r"For rl: LOW:HIGH. \[default: 0.2:0.8]", show_default=False)
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--format", help="For rl: parquet, trl, verl, nemo-rl, swift or openrlhf."),
    ] = None,
) -> None:
    """In the format of another trainer, images written once."""
    from rich.console import Console

    from mmpr_pipeline.dataset.export import export as write
    from mmpr_pipeline.dataset.export import export_table

    console = Console()
    dest = dest or Path(f"{Path(out.rstrip('/')).name}-{to}")
    with shown(console) as progress:
        found = write(out, to, dest, progress=progress, solve_rate=solve_rate, layout=layout)
    console.print(export_table(found))


@app.command(epilog=example("mmpr report out/geoqa-mathvista --out report.html", docs="publishing.md"))
def report(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    path: Annotated[
        Path | None, typer.Option("--out", help=r"The page to write. \[default: NAME-report.html]", show_default=False)
    ] = None,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs in the gallery.")] = 24,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    viewer: Annotated[str, typer.Option(help="Address of a viewer of it, to link to.")] = "",
    price: Annotated[
        float, typer.Option(min=0, help="What a million generated tokens cost, for a column of costs.")
    ] = 0.0,
    against: Annotated[
        str | None, typer.Option(help="Output of another build of the same sources, to be compared with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead.")] = False,
) -> None:
    """One self-contained HTML page: the way from questions to pairs, lengths, solve rates, and a gallery of pairs."""
    from rich.console import Console

    if as_json:
        from mmpr_pipeline.report.pages.figures import report_figures

        print(json.dumps(report_figures(out, against=against), indent=2, ensure_ascii=False))
        return
    from mmpr_pipeline.report.pages.page import report as write

    with shown(Console()) as progress:
        page = write(
            out,
            path,
            pairs=pairs,
            seed=seed,
            viewer=viewer,
            price=price,
            against=against,
            progress=lambda done, of: progress("reading shards", done, of),
        )
    print(page)


@app.command(epilog=example("mmpr diff before after --out diff.html", docs="publishing.md"))
def diff(
    one: Annotated[str, typer.Argument(help="Output of a build: the base.", metavar="A")],
    other: Annotated[str, typer.Argument(help="Output that is compared with it.", metavar="B")],
    page: Annotated[Path | None, typer.Option("--out", help="Also write an HTML page with examples there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Two outputs joined by question: what is newly solved, which verdicts changed, pairs gained and lost."""
    from rich.console import Console

    from mmpr_pipeline.report.compare import compare_outputs
    from mmpr_pipeline.report.pages.diff_page import diff_page, diff_terminal

    found = compare_outputs(one, other)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        Console().print(diff_terminal(found))
    if page:
        print(diff_page(found, page))


@app.command(epilog=example("mmpr view out/geoqa-mathvista", docs="publishing.md"))
def view(
    out: Annotated[str, typer.Argument(help="Output of a build, unfinished ones too; or of a training.")],
    port: Annotated[int, typer.Option(help="Port. \\[default: a free one]", show_default=False)] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets whoever has the printed link in.")
    ] = "127.0.0.1",
    bundle: Annotated[
        Path | None, typer.Option(help="Write the viewer as a static folder there instead, for a file server or Space.")
    ] = None,
) -> None:
    """Browse an output in a web page: search, all rollouts of a question, and a queue to review verdicts.

    mmpr view OUT                      on this machine; from elsewhere: ssh -L 8000:127.0.0.1:8000 MACHINE
    mmpr view OUT --host 0.0.0.0       for others; the link carries a key
    mmpr view OUT --bundle DIR         a folder that needs no server of ours
    mmpr view RUN                      curves of a training, live
    """
    if bundle is None:
        from mmpr_pipeline.report.viewer.server import view as serve

        serve(out, host, port, ready=lambda address: print(f"mmpr: {address}   (Ctrl-C stops)", flush=True))
        return
    from rich.console import Console

    from mmpr_pipeline.report.viewer.bundle import write_bundle

    with shown(Console()) as progress:
        written = write_bundle(out, bundle, progress)
    print(f"{bundle}: {written['files']:,} files, {written['bytes'] / 1e6:.1f} MB")
    print(f"Next  python -m http.server -d {bundle}    look at it")
    print(f"      hf upload ORG/NAME {bundle} --repo-type space    a static Space")


@app.command(epilog=example("mmpr marks out/geoqa-mathvista", docs="publishing.md"))
def marks(
    out: Annotated[str, typer.Argument(help="Output of a build.")],
    add: Annotated[
        list[Path] | None, typer.Option("--add", help="Take in another file of marks, as a static viewer saves it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What people marked in `mmpr view`: how precise the verdicts are, and how far people agree."""
    from rich.console import Console

    from mmpr_pipeline.core.errors import ConfigError
    from mmpr_pipeline.dataset.files.marks import add_marks, read_all
    from mmpr_pipeline.dataset.files.summary import shards_of
    from mmpr_pipeline.dataset.review.marks_summary import marks_page, marks_summary
    from mmpr_pipeline.storage import open_store

    store = open_store(out)
    shards_of(store)  # raises where this is no output
    for path in add or []:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"Cannot read {path}: {error.strerror}", remedy="Give a file of marks.") from None
        print(f"{path}: {add_marks(store, raw, path.name)} new marks", flush=True)
    found = marks_summary(read_all(store))
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        Console().print(marks_page(found))


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

    settings = {
        "out": out,
        "pairing.strategies": [name.strip() for name in strategies.split(",")] if strategies else None,
        "pairing.max_pairs": max_pairs,
        "seed": seed,
        "workers": workers,
    }
    plan = make_merge(outputs, settings)
    show_build(lambda view: run_plan(plan, view), out)
