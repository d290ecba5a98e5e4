"""`mmpr engine-check`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from mmpr_pipeline.cli.app import app, example
from mmpr_pipeline.cli.options import settings_options
from mmpr_pipeline.engines.settings import EngineSettings


@app.command(
    "engine-check",
    epilog=example("mmpr engine-check OpenGVLab/InternVL3-2B-hf --samples 16", docs="clusters.md"),
)
@settings_options(EngineSettings, leave_out=("model", "rollouts"))
def engine_check(
    flags: dict[str, object],
    model: Annotated[
        str | None, typer.Argument(help=r"Hub id or directory of the model. \[default: that of --config, or nano]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of a build, for its engine settings.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="Questions, each with a picture.")] = 8,
    samples: Annotated[int, typer.Option(min=1, help="Rollouts of each question.")] = 32,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest response, in tokens.")] = 256,
    address: Annotated[str, typer.Option(help="Ray: local, auto or ray://HOST:PORT.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Whether an engine works here: loads, samples twice, continues without the image, is killed and comes back.

    Prints a line for each with pass or FAIL, and ends with status 1 where one fails. Send the page with a bug report.
    """
    import asyncio
    import json
    from dataclasses import asdict

    from rich.console import Console

    from mmpr_pipeline.core.settings import group_of, load_settings, read_yaml
    from mmpr_pipeline.engines.check import CheckLoad, Line, check_engine
    from mmpr_pipeline.engines.start import actor_count

    from_file = group_of(read_yaml(config), "engine") if config else {}
    given_flags = {**flags, "model": model}
    settings = load_settings(
        EngineSettings,
        None,
        {**from_file, **{name: value for name, value in given_flags.items() if value is not None}},
        "mmpr engine-check",
    )
    console = Console(soft_wrap=True)

    def notify(line: Line) -> None:
        if not as_json:
            console.print(f"{line.state}  {line.name:28}{line.text}", markup=False, highlight=False)

    session: Any = nullcontext()
    if actor_count(settings):
        from mmpr_pipeline.cluster.session import ray_session

        session = ray_session(address)
    with session:
        lines = asyncio.run(check_engine(settings, CheckLoad(questions, samples, max_tokens), notify))
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    if any(line.state == "FAIL" for line in lines):
        raise typer.Exit(1)
