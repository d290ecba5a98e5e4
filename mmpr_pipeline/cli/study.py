"""`mmpr study`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app, stop_by_signals


@app.command()
def study(
    config: Annotated[Path | None, typer.Argument(help="YAML file of settings; flags win over it.")] = None,
    out: Annotated[str | None, typer.Option(help="Directory of the study.")] = None,
    model: Annotated[str | None, typer.Option(help="The base model. [default: nano]")] = None,
    jobs: Annotated[int | None, typer.Option(help="Steps done at once. [default: what cores and memory fit]")] = None,
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
    from mmpr_pipeline.study.settings import load_study_config

    settings = load_study_config(config, {"out": out, "engine.model": model, "jobs": jobs})
    if steps:
        print("\n".join(list_steps(settings)))
        return
    console = Console()

    def told(step: str, done: int, of: int) -> None:
        console.print(f"{done + 1:>3} of {of}  {step}" if done < of else "all steps done", highlight=False)

    stop_by_signals()
    try:
        results = tell_so_far(settings) if tables else run_study(settings, told)
    except KeyboardInterrupt:
        console.print("Stopped. What is done is kept: the same command goes on from here.")
        raise
    print(json.dumps(results, indent=2) if as_json else study_markdown(results))
    if check and not _held(results):
        console.print("mmpr: MPO's gain in CoT accuracy over the base is not above zero.", highlight=False)
        raise typer.Exit(1)


def _held(results: dict[str, list[dict[str, object]]]) -> bool:
    return any(claim["name"] == "mpo_cot" and claim["held"] for claim in results["headline"])
