"""`mmpr engine-check`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from mmpr_pipeline.cli.app import app


@app.command("engine-check")
def engine_check(
    model: Annotated[
        str | None, typer.Argument(help="Hub id or directory of the model. [default: that of --config, or nano]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of a build, for its engine settings.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine, as for `mmpr build`. [default: vllm]")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a Hub model.")] = None,
    base_url: Annotated[str | None, typer.Option(help="For openai: address of the server.")] = None,
    actors: Annotated[int | None, typer.Option(help="Engine actors. [default: 1 for vllm]")] = None,
    tensor_parallel: Annotated[int | None, typer.Option(help="GPUs for each engine. [default: 1]")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Allow code shipped with the model to run.")
    ] = False,
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

    from mmpr_pipeline.core.settings import load_settings, read_yaml
    from mmpr_pipeline.engines.check.run import CheckLoad, Line, check_engine
    from mmpr_pipeline.engines.settings import EngineSettings
    from mmpr_pipeline.engines.start import actor_count

    from_file: dict[str, Any] = read_yaml(config).get("engine", {}) if config else {}
    flags = {
        "name": engine,
        "model": model,
        "revision": revision,
        "base_url": base_url,
        "actors": actors,
        "tensor_parallel": tensor_parallel,
        "trust_remote_code": True if trust_remote_code else None,
    }
    settings = load_settings(EngineSettings, None, {**from_file, **_given(flags)}, "mmpr engine-check")
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


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}
