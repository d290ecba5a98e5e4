"""`mmpr sources`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmpr_pipeline.cli.app import sources_app


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
