"""`mmpr check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from mmpr_pipeline.cli.app import app, example


@app.command(epilog=example("mmpr check cases.jsonl --explain 17", docs="checking.md"))
def check(
    cases: Annotated[Path, typer.Argument(help="JSONL: id, kind, gold, and response and/or prediction.")],
    out: Annotated[Path | None, typer.Option(help="JSONL of verdicts.")] = None,
    source: Annotated[str | None, typer.Option("--from", help="Check `response` or `prediction`.")] = None,
    explain: Annotated[str | None, typer.Option(help="Show how the case with this id was decided.")] = None,
) -> None:
    """Check answers against their golds, with a table of accuracy where cases carry labels."""
    from rich.console import Console

    from mmpr_pipeline.checking import cases as checking
    from mmpr_pipeline.checking.table import places_table, table_of
    from mmpr_pipeline.core.errors import ConfigError

    if source not in (None, "response", "prediction"):
        raise ConfigError(f"--from {source} is not known.", remedy="Use --from response or --from prediction.")
    level = cast("Literal['response', 'prediction'] | None", source)
    if explain is None:
        summary = checking.run_cases(cases, out, level)
        console = Console()
        console.print(table_of(summary, console.width))
        for kind, count in summary.unknown_kinds.items():
            Console(stderr=True).print(
                f"{count} cases of the unknown kind {kind!r}: checked by a kind inferred from the gold."
            )
        if summary.unusable:
            reasons = ", ".join(f"{rule.replace('_', ' ')} {count}" for rule, count in summary.unusable.most_common())
            Console(stderr=True).print(f"{summary.unusable.total()} lines hold no usable case: {reasons}.")
        if summary.by_place:
            Console().print(places_table(summary.by_place))
        return
    case = checking.find_case(cases, explain, level)
    if case is None:
        raise ConfigError(f"{cases} has no case {explain!r}.", remedy="Give the id of one of its lines.")
    print(checking.explain(case))
