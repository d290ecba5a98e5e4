"""`mmpr study` and `mmpr iterate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmpr_pipeline.cli.app import app, example, stop_by_signals
from mmpr_pipeline.cli.options import settings_options
from mmpr_pipeline.core.settings import declared_settings
from mmpr_pipeline.study.settings import StudyConfig, load_study_config

if TYPE_CHECKING:
    pass

_KEPT = ("out", "jobs", "engine.model")
_ENGINE = tuple(each.path for each in declared_settings(StudyConfig) if each.path not in _KEPT)


@app.command(epilog=example("mmpr study examples/study-small.yaml", docs="study.md"))
@settings_options(StudyConfig, leave_out=_ENGINE, defaults={"engine.model": "nano"})
def study(
    flags: dict[str, object],
    config: Annotated[Path | None, typer.Argument(help="YAML file of settings; flags win over it.")] = None,
    steps: Annotated[bool, typer.Option("--steps", help="Print the steps, done or not, and stop.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="Tell what is done so far, and stop.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="End with status 1 unless MPO's CoT gain is above zero.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """The paper's experiment in miniature, from a config to tables. Rerun the same command to go on after any stop."""
    from rich.console import Console

    from mmpr_pipeline.study.results.table import study_markdown
    from mmpr_pipeline.study.run import list_steps, run_study, tell_so_far

    settings = load_study_config(config, flags)
    if steps:
        print("\n".join(list_steps(settings)))
        return
    console = Console()

    def show(step: str, done: int, of: int, /, at_work: int = 0) -> None:
        console.print(f"{done + 1:>3} of {of}  {step}" if done < of else "all steps done", highlight=False)

    stop_by_signals()
    try:
        results = tell_so_far(settings) if tables else run_study(settings, show)
    except KeyboardInterrupt:
        console.print("Stopped. What is done is kept: the same command goes on from here.")
        raise
    print(json.dumps(results, indent=2) if as_json else study_markdown(results))
    if check and not any(claim["name"] == "mpo_cot" and claim["held"] for claim in results["headline"]):
        console.print("mmpr: MPO's gain in CoT accuracy over the base is not above zero.", highlight=False)
        raise typer.Exit(1)


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
        results = run_iterate(settings, lambda text: console.print(text, highlight=False))
    except KeyboardInterrupt:
        console.print("Stopped. What is done is kept: the same command goes on from here.")
        raise
    best = results["best"]
    console.print(
        f"Ended: {results['stopped']}. Best: round {best['round']}, {best['model']}", highlight=False, markup=False
    )
    console.print(f"[bold]Next[/]  open {settings.out}/{PAGE}", highlight=False)
