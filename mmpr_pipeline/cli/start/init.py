"""`mmpr init`: a small project from a few questions, or from flags alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app, example

_CONFIG = """\
# yaml-language-server: $schema=build.schema.json
# docs/settings.md lists all settings. To start the build, or to resume it:
#   mmpr build {file}
sources: [{sources}]
out: {out}
shards: {shards}
{limit}engine:
  name: vllm
{model}sampling:
  samples: {samples}
"""


@app.command(
    epilog=example(
        "mmpr init charts",
        "mmpr init charts --yes --sources chartqa --model OpenGVLab/InternVL3-2B-hf",
        docs="quick-start.md",
    )
)
def init(
    folder: Annotated[Path, typer.Argument(help="New folder for the project.")] = Path("mmpr-project"),
    sources: Annotated[
        str | None, typer.Option(help="Catalog names or declaration files, by commas.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Hub id or directory of the model.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Rows of each source for a first try; 0: all.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take flags and defaults.")] = False,
) -> None:
    """Write a small project: the settings of a build, and what to type next. Asks for what no flag says."""
    from mmpr_pipeline.core.errors import ConfigError
    from mmpr_pipeline.models.choice import choose_model, local_gpus
    from mmpr_pipeline.pipeline.config import BuildConfig
    from mmpr_pipeline.sources.declaration.catalog import expand, find_declaration

    file = folder / "build.yaml"
    if file.exists():
        raise ConfigError(f"{file} exists.", remedy="Give another folder, or edit that file.")
    sources = sources or _ask("Sources (names of `mmpr sources list`, or files)", "nano_grid,nano_chart", yes)
    names = [name.strip() for name in sources.split(",") if name.strip()]
    places = [str(Path(name).absolute()) if Path(name).suffix in (".yaml", ".yml") else name for name in names]
    for name in expand(places):
        find_declaration(name)
    if model is None:
        choice = choose_model(local_gpus(), "this machine")
        asked = _ask("Model (empty: " + ("rehearse with nano" if choice.rehearsal else choice.model) + ")", "", yes)
        model = asked or (None if choice.rehearsal else choice.model)
    if limit is None:
        limit = int(_ask("Rows of each source for a first try (0: all)", "100", yes))
    text = _CONFIG.format(
        file=file,
        sources=", ".join(places),
        out=folder / "pairs",
        shards=4 if limit else 64,
        limit=f"limit: {limit}            # rows of each source; take it out for the whole\n" if limit else "",
        model=f"  model: {model}\n" if model else "",
        samples=16 if limit else 32,
    )
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    schema = json.dumps(BuildConfig.model_json_schema(), indent=1, ensure_ascii=False)
    (folder / "build.schema.json").write_text(f"{schema}\n", "utf-8")  # by which editors complete and check the file
    print(f"Wrote {file}. Next:")
    for what in (f"build {file} --dry-run", f"build {file}", f"view {folder / 'pairs'}", f"train {folder / 'pairs'}"):
        print(f"  mmpr {what}")


def _ask(question: str, default: str, yes: bool) -> str:
    """The answer of the user, or the default where nothing is to be asked."""
    return default if yes else str(typer.prompt(question, default=default))
