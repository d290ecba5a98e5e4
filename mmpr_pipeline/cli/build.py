"""`mmpr build`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mmpr_pipeline.cli.app import app, stop_by_signals

TOP_SECONDS = 2.0


@app.command()
def build(
    config: Annotated[Path | None, typer.Argument(help="YAML file of settings; flags win over it.")] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            help="Catalog names, groups, declaration files; by commas. Each may end in its share: geoqa:0.5 (half of "
            "it), @10000 (at most so many), *2 (each asked twice)."
        ),
    ] = None,
    out: Annotated[str | None, typer.Option(help="Output directory or s3://bucket/prefix.")] = None,
    shards: Annotated[int | None, typer.Option(help="Shards; each takes 1/N of every source. [default: 8]")] = None,
    engine: Annotated[str | None, typer.Option(help="vllm, openai, replay, given or scripted. [default: vllm]")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id or directory; `nano` is embedded. [default: nano]")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a Hub model.")] = None,
    base_url: Annotated[str | None, typer.Option(help="For openai: the server, as http://host:8000/v1.")] = None,
    rollouts: Annotated[str | None, typer.Option(help="For replay: JSONL file of recorded rollouts.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Where relative paths in declarations start.")] = None,
    samples: Annotated[int | None, typer.Option(help="Most rollouts for each question. [default: 32]")] = None,
    adaptive: Annotated[
        bool | None,
        typer.Option("--adaptive/--no-adaptive", help="Stop early where more would not help. [default: on]"),
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Pairing strategies by commas, in order: correctness, dropout_ntp, preset (pairs that the sources "
            "bring), or an installed one. [default: correctness,dropout_ntp]"
        ),
    ] = None,
    max_pairs: Annotated[int | None, typer.Option(help="Most correctness pairs a question. [default: 15]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens. [default: 2048]")] = None,
    temperature: Annotated[float | None, typer.Option(help="Softmax temperature. [default: 1.0]")] = None,
    style: Annotated[
        str | None, typer.Option(help="cot-final, cot-boxed, cot-think or direct. [default: cot-final]")
    ] = None,
    prompt_language: Annotated[
        str | None, typer.Option(help="Instructions in en, zh or auto, the question's language. [default: auto]")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most rows of each source.")] = None,
    dedup: Annotated[
        bool | None, typer.Option("--dedup/--no-dedup", help="Ask what several rows ask only once. [default: on]")
    ] = None,
    decontaminate: Annotated[
        bool | None,
        typer.Option(
            "--decontaminate/--no-decontaminate",
            help="Drop questions of training sources that an evaluation set has too, or nearly so. [default: on]",
        ),
    ] = None,
    decontaminate_against: Annotated[
        str | None,
        typer.Option(help="These evaluation sets only, by commas. [default: all of the catalog that can be had]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of sampling and pairing. [default: 0]")] = None,
    address: Annotated[str | None, typer.Option(help="Ray: local, auto or ray://HOST:PORT. [default: local]")] = None,
    actors: Annotated[int | None, typer.Option(help="Engine actors. [default: 1 for vllm]")] = None,
    tensor_parallel: Annotated[int | None, typer.Option(help="GPUs for each engine. [default: 1]")] = None,
    workers: Annotated[int | None, typer.Option(help="Shards worked on at once. [default: the CPUs]")] = None,
    in_flight: Annotated[
        int | None, typer.Option(help="Questions in flight for each worker. [default: as fill the engines]")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Allow code shipped with the model to run.")
    ] = False,
    from_rollouts: Annotated[
        str | None, typer.Option(help="Check and pair a finished dataset again, without an engine.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with estimates, and stop.")] = False,
    tokens_per_second: Annotated[float | None, typer.Option(help="One engine's rate, for the estimate.")] = None,
    response_tokens: Annotated[float | None, typer.Option(help="Mean response in tokens, for the estimate.")] = None,
) -> None:
    """Questions -> rollouts -> verdicts -> pairs -> shards. Rerun the same command to go on after any stop."""
    from mmpr_pipeline.pipeline.config import load_config

    given = {
        "sources": _listed(sources),
        "out": out,
        "shards": shards,
        "limit": limit,
        "seed": seed,
        "screening.dedup": dedup,
        "screening.decontaminate": decontaminate,
        "screening.against": _listed(decontaminate_against),
        "data_root": data_root,
        "address": address,
        "workers": workers,
        "in_flight": in_flight,
        "engine.name": engine,
        "engine.model": model,
        "engine.revision": revision,
        "engine.base_url": base_url,
        "engine.rollouts": rollouts,
        "engine.actors": actors,
        "engine.tensor_parallel": tensor_parallel,
        "engine.trust_remote_code": True if trust_remote_code else None,
        "sampling.samples": samples,
        "sampling.adaptive": adaptive,
        "sampling.style": style,
        "sampling.prompt_language": prompt_language,
        "sampling.decoding.max_tokens": max_tokens,
        "sampling.decoding.temperature": temperature,
        "pairing.strategies": _listed(strategies),
        "pairing.max_pairs": max_pairs,
    }
    if from_rollouts:
        _rework(from_rollouts, config, given)
        return
    settings = load_config(config, given)
    _dry_run(settings, tokens_per_second, response_tokens) if dry_run else _build(settings)


def _listed(text: str | None) -> list[str] | None:
    """The parts between commas; None where nothing is given."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


@app.command()
def top(
    out: Annotated[str, typer.Argument(help="Output of a build, running or not.")],
    watch: Annotated[
        float | None, typer.Option(help="Seconds between looks. [default: 2 on a terminal; elsewhere one look only]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, once.")] = False,
) -> None:
    """A build as it goes on: how far it is, how busy its engines are, what is rejected, and its last log lines."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.live import Live

    from mmpr_pipeline.pipeline.watch.look import look
    from mmpr_pipeline.pipeline.watch.top import status_text
    from mmpr_pipeline.storage import open_store

    store = open_store(out)
    seen = look(store)
    if as_json:
        print(json.dumps(asdict(seen)))
        return
    console = Console()
    if watch is None and not console.is_terminal:
        console.print(status_text(seen), highlight=False)
        return
    with Live(status_text(seen), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while seen.state == "running":
            time.sleep(max(watch or TOP_SECONDS, 0.5))
            seen = look(store)
            live.update(status_text(seen), refresh=True)


def _dry_run(settings: Any, tokens_per_second: float | None, response_tokens: float | None) -> None:
    from rich.console import Console

    from mmpr_pipeline.pipeline.driver import absolute_build_paths
    from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
    from mmpr_pipeline.pipeline.watch.estimate import estimate_build, estimate_table

    plan = make_build_plan(absolute_build_paths(settings))
    Console().print(estimate_table(plan, estimate_build(plan, tokens_per_second, response_tokens)))


def _rework(before: str, config: Path | None, given: dict[str, Any]) -> None:
    from mmpr_pipeline.core.errors import ConfigError
    from mmpr_pipeline.pipeline.driver import run_plan
    from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan

    if config is not None or given["out"] is None:
        raise ConfigError("--from-rollouts takes its settings from the dataset.", remedy="Give flags, and --out.")
    plan = make_rebuild_plan(before, given)
    _show(lambda view: run_plan(plan, view), given["out"])


def _build(settings: Any) -> None:
    from mmpr_pipeline.pipeline.driver import run_build

    _show(lambda view: run_build(settings, view), settings.out)


def _show(work: Callable[[Any], dict[str, Any]], out: str) -> None:
    """Do a build before the user's eyes, and print its summary."""
    from rich.console import Console

    from mmpr_pipeline.dataset.review.terminal import summary_page
    from mmpr_pipeline.pipeline.watch.console import BuildConsole

    stop_by_signals()
    console = Console()
    try:
        with BuildConsole(console) as view:
            summary = work(view)
    except KeyboardInterrupt:
        console.print("Stopped. Every finished rollout is kept: the same command goes on from here.")
        raise
    console.print(summary_page(summary))
    console.print(
        f"[bold]Next[/]  mmpr show {out}    a few pairs, side by side\n"
        f"      mmpr verify {out}  hashes, schemas, counts\n"
        f"      mmpr stats {out}   where the pairs come from",
        highlight=False,
    )
