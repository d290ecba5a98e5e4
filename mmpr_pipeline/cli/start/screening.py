"""`mmpr screening`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import example, screening_app
from mmpr_pipeline.cli.options import names


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
