"""`mmpr sources` and `mmpr screening`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpr_pipeline.cli.app import example, screening_app, sources_app
from mmpr_pipeline.cli.options import names

if TYPE_CHECKING:
    from mmpr_pipeline.sources.adding import MetaEntry


WIDE = 110
"""Columns of a terminal in which the whole catalog has room."""


@sources_app.command("list", epilog=example("mmpr sources list", docs="sources.md"))
def sources_list() -> None:
    """The catalog."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    from mmpr_pipeline.sources.review.preview import LIST_COLUMNS, list_sources

    console = Console()
    name, groups, kind, rows, description = (Column(title, no_wrap=True) for title in LIST_COLUMNS)
    groups.max_width, kind.max_width, rows.justify, description.ratio = 16, 10, "right", 1
    wide = console.width >= WIDE
    description.no_wrap = wide
    columns = [name, groups, kind, rows, description] if wide else [name, description]
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for row in list_sources():
        table.add_row(*(row if wide else (row[0], row[-1])))
    console.print(table)
    if not wide:
        console.print(f"Groups, kinds and rows: at {WIDE} columns, or `mmpr sources show NAME`.", style="dim")


@sources_app.command("show", epilog=example("mmpr sources show geoqa", docs="declarations.md"))
def sources_show(name: Annotated[str, typer.Argument(help="Catalog name or declaration file.")]) -> None:
    """One declaration, with what could not be confirmed about it."""
    from mmpr_pipeline.sources.review.preview import show_source

    print(show_source(name))


@sources_app.command("preview", epilog=example("mmpr sources preview geoqa -n 5", docs="sources.md"))
def sources_preview(
    name: Annotated[str, typer.Argument(help="Catalog name or declaration file.")],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Rows to show.")] = 3,
    data_root: Annotated[str | None, typer.Option(help="Where the declaration's relative paths start.")] = None,
) -> None:
    """The first rows as questions, or why they are not."""
    from mmpr_pipeline.sources.review.preview import preview_source

    for text in preview_source(name, number, data_root):
        print(text, end="\n\n")


@sources_app.command("add", epilog=example("mmpr sources add charts/labels.csv --out charts.yaml", docs="sources.md"))
def sources_add(
    target: Annotated[
        str, typer.Argument(help="Rows: a file or folder, InternVL's meta.json, or ORG/NAME on the Hub.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the source; by the file if not given.")] = None,
    out: Annotated[
        str | None, typer.Option(help=r"Declaration to write; of a meta.json the folder. \[default: NAME.yaml]")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="A better guess, FIELD=COLUMN: answer=label; also kind=, answer_form=, language=."),
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="A host that image URLs may name.")] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            help="For a folder of images alone: what to ask of each; of several, one by the hash of its path."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing declaration.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Look at files or a Hub data set, guess which column is what, show rows, and write a declaration."""
    from itertools import islice

    from rich.console import Console
    from rich.text import Text

    from mmpr_pipeline.core.errors import ConfigError
    from mmpr_pipeline.core.masking import steering_nothing
    from mmpr_pipeline.sources.adding import draft_source, meta_entries, write_rows
    from mmpr_pipeline.sources.adding.table import source_name
    from mmpr_pipeline.sources.review.checks import check_source
    from mmpr_pipeline.sources.review.findings import Places, count_text, finding_sentence
    from mmpr_pipeline.sources.review.preview import can_show_pictures, guessed, items

    columns = dict(pair.partition("=")[::2] for pair in column or ())
    if "" in columns or not all(columns.values()):
        raise ConfigError("--column takes FIELD=COLUMN.", remedy="For example --column answer=label.")
    if entries := meta_entries(target):
        return _add_entries(entries, Path(out or "sources"), columns, yes)
    if question:
        declared = Path(out or f"{Path(target).resolve().name}.yaml")
        rows = declared.with_suffix(".jsonl")
        print(f"Wrote {write_rows(Path(target), question, rows, force):,} rows to {rows}.")
        name, target, out = name or source_name(declared.stem), str(rows), str(declared)
    draft = draft_source(target, name, out, columns, tuple(allow_host or ()), force=force)
    console = Console()
    console.print(guessed(draft.why), "")
    checked = check_source(draft.source, 50)
    places = Places(draft.source)
    first = islice((item for _, item in checked.items), 3)
    console.print(items(list(first), can_show_pictures(console)), "")
    console.print(
        f"Of {len(checked.items)} rows tried, {len(checked.questions)} are questions; "
        f"the checker accepts {checked.accepted} of {checked.answered} golds."
    )
    for doubt in draft.doubts:
        console.print(Text.assemble(("Doubtful:", "yellow"), f" {steering_nothing(doubt)}"))
    for finding in checked.findings:
        said = f" {count_text(len(finding.rows))}: {steering_nothing(finding.text)}"
        console.print(Text.assemble((finding.name, "yellow"), said))
        for row, seen in finding.rows[:3]:
            console.print(f"    {finding_sentence(finding, places(row), seen)}", highlight=False, markup=False)
    usable = bool(checked.questions)
    if not usable:
        console.print("[bold yellow]No row is a question yet:[/] correct the guess with --column FIELD=COLUMN.")
    if not yes and not typer.confirm(f"Write {draft.path}?", default=usable):
        print("Nothing was written. Correct the guess with --column FIELD=COLUMN.")
        raise typer.Exit(1)
    draft.write(force)
    print(f"Wrote {draft.path}. Next:\n  mmpr sources check {draft.path} --page {draft.path.stem}.html")
    if draft.declaration.columns.chosen:
        print(f"  mmpr build --sources {draft.path} --strategies preset --out pairs    # its own pairs, as they are")


def _add_entries(entries: list[MetaEntry], folder: Path, columns: dict[str, str], yes: bool) -> None:
    """The declarations of a whole `meta.json`, each tried on its first rows; those that cannot be written are named."""
    from rich.console import Console
    from rich.text import Text

    from mmpr_pipeline.core.errors import MmprError
    from mmpr_pipeline.core.masking import steering_nothing
    from mmpr_pipeline.sources.adding import draft_entry
    from mmpr_pipeline.sources.review.preview import tried

    if not yes and not typer.confirm(
        f"Write declarations of up to {len(entries)} sources into {folder}?", default=True
    ):
        print("Nothing was written.")
        raise typer.Exit(1)
    folder.mkdir(parents=True, exist_ok=True)
    written, pairs, console = 0, 0, Console()
    for entry in entries:
        try:
            draft = draft_entry(entry, folder, columns)
            console.print(tried(entry.name, draft))
            draft.write()
        except MmprError as error:
            why = steering_nothing(str(error).splitlines()[0])
            console.print(Text.assemble((entry.name, "yellow"), f"  left out: {why}"))
            continue
        written, pairs = written + 1, pairs + bool(draft.declaration.columns.chosen)
    engine = " --strategies preset" if pairs == written else ""
    print(
        f"Wrote {written} of {len(entries)} declarations into {folder}. Next:\n  mmpr sources check {folder}/NAME.yaml"
    )
    print(f"  mmpr build --sources {folder}{engine} --out pairs")
    if not written:
        raise typer.Exit(1)


@sources_app.command("check", epilog=example("mmpr sources check charts.yaml --page charts.html", docs="sources.md"))
def sources_check(
    name: Annotated[str, typer.Argument(help="Catalog name or declaration file; or a group, or a folder of them.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows to look at, spread over the source; 0: all.")] = 200,
    page: Annotated[str | None, typer.Option(help="Also write a page that shows the questions.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Where the declaration's relative paths start.")] = None,
) -> None:
    """Read rows, put each gold and a foreign one before the checker, and say what is wrong, with row numbers.

    Ends with status 1 where a build would be wasted.
    """
    from mmpr_pipeline.core.errors import ConfigError, MmprError
    from mmpr_pipeline.sources.declaration.catalog import expand

    names = expand([name])
    if page and len(names) > 1:
        raise ConfigError(f"{name} is {len(names)} sources; a page shows one.", remedy="Name one of them.")
    wrong = 0
    for one in names:
        try:
            wrong += _check(one, rows, page, data_root)
        except MmprError as error:
            if len(names) == 1:
                raise
            print(f"{one}: {error}")
            wrong += 1
    if len(names) > 1:
        print(f"{len(names) - wrong} of {len(names)} sources have no error.")
    if wrong:
        raise typer.Exit(1)


def _check(name: str, rows: int, page: str | None, data_root: str | None) -> bool:
    """Check one source, and say what was found; whether a build would be wasted."""
    from dataclasses import replace

    from mmpr_pipeline.sources import open_source
    from mmpr_pipeline.sources.review.checks import check_source, finding_lines

    checked = check_source(replace(open_source(name, data_root), whole_files=False), rows)
    for line in finding_lines(checked):
        print(line)
    if page:
        from mmpr_pipeline.report.pages.source_page import source_page

        print(f"  see {source_page(checked, page)}")
    return checked.serious


@screening_app.command(
    "fingerprint", epilog=example("mmpr screening fingerprint mathvista,mmmu_val --repo me/prints", docs="screening.md")
)
def screening_fingerprint(
    sets: Annotated[str, typer.Argument(help="Evaluation sets of the Hub: names, groups, declarations, by commas.")],
    out: Annotated[
        Path | None, typer.Option(help=r"Folder to write to. \[default: where builds on this machine look]")
    ] = None,
    repo: Annotated[str | None, typer.Option(help="Put them into this data set repository of the Hub, too.")] = None,
) -> None:
    """Read evaluation sets once, and write what builds compare with: hashes, no image and no text."""
    from mmpr_pipeline.core.errors import ConfigError
    from mmpr_pipeline.dataset.review.terminal import human_size
    from mmpr_pipeline.screening.fingerprints import fingerprint_folder, make_fingerprint, publish_fingerprints
    from mmpr_pipeline.sources import open_source
    from mmpr_pipeline.sources.declaration.catalog import expand

    folder, made = out or fingerprint_folder(), []
    opened = [open_source(path) for path in expand(names(sets) or ())]
    if not opened:
        raise ConfigError("No evaluation set is named.", remedy="For example mathvista, or the group evaluation.")
    for source in opened:
        print(f"{source.name}: reading it once ...", flush=True)
        found = make_fingerprint(source, folder)
        print(f"{source.name}: {found.rows:,} rows, {human_size(found.path.stat().st_size)}, {found.path}")
        made.append(found.path)
    if repo:
        publish_fingerprints(made, repo)
        print(f"Put into {repo}. Elsewhere: mmpr screening fetch {repo}")


@screening_app.command("fetch", epilog=example("mmpr screening fetch me/prints", docs="screening.md"))
def screening_fetch(repo: Annotated[str, typer.Argument(help="Data set repository of the Hub.")]) -> None:
    """Fetch the fingerprints in a repository: builds on this machine then compare with them."""
    from mmpr_pipeline.screening.fingerprints import fetch_fingerprints, kept_fingerprint
    from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration

    for found in fetch_fingerprints(repo):
        used = found.name in catalog_names() and kept_fingerprint(find_declaration(found.name)[0])
        note = "" if used else "; not used: it was made of another declaration or commit, or by other rules"
        print(f"{found.name}: {found.rows:,} rows at {found.revision[:8]}{note}")
