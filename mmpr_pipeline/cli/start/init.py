"""`mmpr init`: a small project from a few questions, or from flags alone."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpr_pipeline.cli.app import app, example

if TYPE_CHECKING:
    from mmpr_pipeline.sources.adding import Draft

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
        "mmpr init mine --yes --sources examples/questions/questions.jsonl",
        "mmpr init charts --yes --sources chartqa --model OpenGVLab/InternVL3-2B-hf",
        docs="quick-start.md",
    )
)
def init(
    folder: Annotated[Path, typer.Argument(help="New folder for the project.")] = Path("mmpr-project"),
    sources: Annotated[
        str | None,
        typer.Option(
            help="By commas: files or folders with your questions, declarations, names of the catalog.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Hub id or directory of the model.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Rows of each source for a first try; 0: all.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take flags and defaults.")] = False,
) -> None:
    """Write a small project: the settings of a build, and what to type next. Asks for what no flag says.

    Files of your own questions are looked at and declared, as `mmpr sources add` does it.
    """
    from shlex import quote

    from mmpr_pipeline.core.errors import ConfigError
    from mmpr_pipeline.models.resolve import choose_model, local_gpus
    from mmpr_pipeline.pipeline.config import BuildConfig
    from mmpr_pipeline.sources.declaration.catalog import declarations_in, expand, find_declaration

    file = folder / "build.yaml"
    if file.exists():
        raise ConfigError(f"{file} exists.", remedy="Give another folder, or edit that file.")
    sources = sources or _ask(
        "Your questions (a file or folder; or names of `mmpr sources list`)", "nano_grid,nano_chart", yes
    )
    places, drafts = [], []
    for name in (name.strip() for name in sources.split(",")):
        path = Path(name).expanduser()
        is_declared = path.suffix in (".yaml", ".yml") or bool(declarations_in(name))
        if name and path.exists() and not is_declared:
            drafts.append(_draft(path, folder))
            places.append(str(drafts[-1].path.absolute()))
        elif name:
            places.append(str(path.absolute()) if is_declared else name)
            for each in expand(places[-1:]):
                find_declaration(each)
    if model is None:
        choice = choose_model(local_gpus(), "this machine")
        asked = _ask("Model (empty: " + ("rehearse with nano" if choice.rehearsal else choice.model) + ")", "", yes)
        model = asked or (None if choice.rehearsal else choice.model)
    while limit is None:
        answer = _ask("Rows of each source for a first try (0: all)", "100", yes)
        limit = int(answer) if answer.isdecimal() else None
    out = folder / "pairs"
    text = _CONFIG.format(
        file=quote(str(file)),
        sources=", ".join(map(json.dumps, places)),
        out=json.dumps(str(out)),
        shards=4 if limit else 64,
        limit=f"limit: {limit}            # rows of each source; take it out for the whole\n" if limit else "",
        model=f"  model: {json.dumps(model)}\n" if model else "",
        samples=16 if limit else 32,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for draft in drafts:
        draft.write()
        print(f"Wrote {draft.path}, which says how your questions are read.")
    file.write_text(text, "utf-8")
    schema = json.dumps(BuildConfig.model_json_schema(), indent=1, ensure_ascii=False)
    (folder / "build.schema.json").write_text(f"{schema}\n", "utf-8")  # by which editors complete and check the file
    print(f"Wrote {file}, the settings of the build. Next:")
    for draft in drafts:
        print(f"  mmpr sources check {quote(str(draft.path))}")
    for what in (f"build {quote(str(file))} --dry-run", f"build {quote(str(file))}"):
        print(f"  mmpr {what}")
    for what in ("show", "view", "train"):
        print(f"  mmpr {what} {quote(str(out))}")


def _draft(path: Path, folder: Path) -> Draft:
    """The declaration of a user's own rows, tried on a few. Raises ConfigError where none of them is a question."""
    from mmpr_pipeline.core.errors import ConfigError, MmprError
    from mmpr_pipeline.sources.adding import draft_source
    from mmpr_pipeline.sources.review.checks import check_source

    name = path.name.split(".")[0] if path.is_file() else path.resolve().name
    folder.mkdir(parents=True, exist_ok=True)  # the declaration's relative paths start there
    try:
        draft = draft_source(str(path), None, str(folder / f"{name}.yaml"), {})
        checked = check_source(draft.source, 50)
    except MmprError as error:
        _rid(folder)
        where = f"Options are those of `mmpr sources add {path}`: run it, and give init the declaration that it writes."
        raise ConfigError(error.message, remedy=f"{error.remedy} {where}") from None
    print(
        f"{path}: of {len(checked.items)} rows tried, {len(checked.questions)} are questions; the checker accepts "
        f"{checked.accepted} of {checked.answered} golds."
    )
    if not checked.questions:
        _rid(folder)
        reasons = "; ".join(finding.text for finding in checked.findings[:3])
        raise ConfigError(
            f"No row of {path} is a question yet{f': {reasons}' if reasons else ''}.",
            remedy=f"Run `mmpr sources add {path} --column FIELD=COLUMN`, and give init what it writes.",
        )
    return draft


def _rid(folder: Path) -> None:
    """Remove the folder of a project that could not be made, where nothing else is in it."""
    with suppress(OSError):
        folder.rmdir()


def _ask(question: str, default: str, yes: bool) -> str:
    """The answer of the user, or the default where nothing is to be asked."""
    return default if yes else str(typer.prompt(question, default=default, show_default=bool(default)))
