"""`mmpr eval` and `leaderboard`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmpr_pipeline.cli.app import app
from mmpr_pipeline.cli.progress import shown

if TYPE_CHECKING:
    from rich.console import Console

    from mmpr_pipeline.evaluation.settings import EvalConfig


@app.command(name="eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="Hub id or directory; `nano` is the embedded one.")] = "nano",
    benchmarks: Annotated[
        str | None, typer.Option(help="Names, groups (paper, reasoning, hallucination, ...), YAML files; by commas.")
    ] = None,
    sources: Annotated[str | None, typer.Option(help="Catalog names, groups, declaration files; by commas.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags win over it.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="cot or direct; for benchmarks both, by commas. [default: cot]")
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="Of chain of thought: cot-final, cot-boxed or cot-think. [default: cot-final]")
    ] = None,
    prompt_language: Annotated[str | None, typer.Option(help="Of the instruction: auto, en or zh.")] = None,
    against: Annotated[str | None, typer.Option(help="A second model: results tell MODEL minus AGAINST.")] = None,
    engine: Annotated[str | None, typer.Option(help="vllm, openai, replay or scripted. [default: vllm]")] = None,
    base_url: Annotated[str | None, typer.Option(help="For openai: http://HOST:PORT/v1.")] = None,
    rollouts: Annotated[
        str | None, typer.Option(help="Score the recorded responses in this JSONL file; MODEL is only their name.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="The judge: http://HOST:PORT/v1#MODEL; its key is $OPENAI_API_KEY.")
    ] = None,
    judge_prompts: Annotated[str | None, typer.Option(help="Folder of judge prompts in place of ours.")] = None,
    judge_one_order: Annotated[bool, typer.Option("--judge-one-order", help="Ask pairwise judges once only.")] = False,
    harness: Annotated[str | None, typer.Option(help="lmms-eval: let it run the tasks that it has.")] = None,
    harness_python: Annotated[str | None, typer.Option(help="Python of the environment that has the harness.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most rows of each source.")] = None,
    skip: Annotated[int | None, typer.Option(help="Rows of each source left out before.")] = None,
    trained_on: Annotated[
        str | None, typer.Option(help="Rows that a model was trained on: leave_out, refuse, keep. [default: leave_out]")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Responses to each question. [default: 1]")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 takes the likeliest token. [default: 0]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest response. [default: 1024]")] = None,
    data_root: Annotated[str | None, typer.Option(help="Where relative paths in declarations start.")] = None,
    benchmark_data: Annotated[str | None, typer.Option(help="Folder of further files of benchmarks.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of sampling and bootstrap. [default: 0]")] = None,
    out: Annotated[
        str | None, typer.Option(help="Directory for results and responses; the same command goes on from there.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the benchmarks and their groups.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How good a model is on benchmarks, each by its own metric, or on sources; alone or against another model.

    mmpr eval trained --benchmarks paper --mode cot,direct --against nano --out scores
    """
    from rich.console import Console

    from mmpr_pipeline.evaluation.settings import load_eval_config

    console = Console()
    if list_all:
        _list(console)
        return
    modes = _names(mode)
    settings = load_eval_config(
        config,
        {
            "engine.model": model,
            "engine.name": engine or ("replay" if rollouts else None),
            "engine.rollouts": rollouts,
            "engine.base_url": base_url,
            "benchmarks": _names(benchmarks) or None,
            "sources": _names(sources) or None,
            "mode": modes[0] if modes else None,
            "modes": modes if len(modes) > 1 else None,
            "style": style,
            "prompt_language": prompt_language,
            "against": against,
            "judge": _judge(judge, judge_prompts, judge_one_order),
            "limit": limit,
            "skip": skip,
            "trained_on": trained_on,
            "samples": samples,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "data_root": data_root,
            "benchmark_data": benchmark_data,
            "seed": seed,
            "out": out,
        },
    )
    results, table = _run(settings, harness, harness_python, console, quiet=as_json)
    if as_json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        console.print(table)
        if settings.out and settings.benchmarks:
            console.print(f"Written to {settings.out}: table.md, results.json, table.svg, and every scored response.")


def _run(
    settings: EvalConfig, harness: str | None, python: str | None, console: Console, *, quiet: bool
) -> tuple[dict[str, Any], Any]:
    """The results, and their table for the terminal."""
    if not settings.benchmarks:
        from mmpr_pipeline.evaluation.run import results_tables, run_eval

        with shown(console) as progress:
            found = run_eval(settings, progress)
        return found, results_tables(found)
    from mmpr_pipeline.evaluation.comparison import table
    from mmpr_pipeline.evaluation.running.run import run_benchmarks, write_tables

    with shown(console) as progress:
        if harness is not None:
            from mmpr_pipeline.evaluation.harness.lmms import run_harness

            found = run_harness(settings, harness, python)
        else:
            found = run_benchmarks(settings, progress, lambda line: None if quiet else console.print(line))
    if settings.out:
        write_tables(found, settings.out)
    return found, table.comparison_table(found)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _judge(address: str | None, prompts: str | None, one_order: bool) -> dict[str, Any] | None:
    """The settings of a judge that is written as URL#MODEL."""
    from mmpr_pipeline.core.errors import ConfigError

    if address is None:
        return None
    url, mark, model = address.partition("#")
    if not mark or not model:
        raise ConfigError(f"--judge {address}: no model is named.", remedy="Write http://HOST:PORT/v1#MODEL.")
    engine = {"name": "openai", "base_url": url, "model": model, "actors": 0}
    return {"engine": engine, "both_orders": not one_order, **({"prompts": prompts} if prompts else {})}


def _list(console: Console) -> None:
    from rich.table import Table

    from mmpr_pipeline.evaluation.benchmarks import catalog

    table = Table(title="benchmarks; any source with answers is one as well")
    for heading in ("name", "title", "groups", "metric", "rows", "judge"):
        table.add_column(heading, overflow="fold")
    for name, each in catalog.known().items():
        rows = f"{each.rows_expected:,}" if each.rows_expected else ""
        table.add_row(name, each.title, ", ".join(each.groups), each.metrics[0], rows, each.official_judge or "")
    console.print(table)


@app.command()
def leaderboard(
    results: Annotated[list[str], typer.Argument(help="Directories of `mmpr eval --benchmarks … --out`.")],
    out: Annotated[Path | None, typer.Option(help="Write the board as Markdown.")] = None,
) -> None:
    """Several models side by side, from the results of their evaluations.

    mmpr leaderboard scores-nano scores-trained --out board.md
    """
    from rich.console import Console

    from mmpr_pipeline.evaluation.comparison.leaderboard import (
        leaderboard_markdown,
        leaderboard_table,
        merged,
        read_results,
    )

    rows = merged([read_results(place) for place in results])
    Console().print(leaderboard_table(rows))
    if out:
        out.write_text(leaderboard_markdown(rows), "utf-8")
