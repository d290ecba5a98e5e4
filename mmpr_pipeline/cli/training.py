"""`mmpr train`, `convert` and `plot`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app

STOPPED = 143  # as a shell says it of a process that SIGTERM ended: whoever started the run knows that it is not done


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(help="Output of `mmpr build`; or a YAML file of settings.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags win over it.")] = None,
    run_dir: Annotated[str | None, typer.Option(help="Directory of checkpoints and metrics.")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id or directory. [default: nano]")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a Hub model.")] = None,
    export: Annotated[str | None, typer.Option(help="Where to write the trained model; or: best.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Published defaults: internvl2, internvl2.5, internvl3, internvl3.5, nemotron.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. [default: 1]")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs of an optimizer step. [default: 256]")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Stop after so many steps.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate. [default: 5e-6]")] = None,
    loss: Annotated[str | None, typer.Option(help="mpo, dpo, bco+sft, ipo, orpo, ... [default: mpo]")] = None,
    loss_weights: Annotated[str | None, typer.Option(help="Weights by term: dpo=0.8,bco=0.2,sft=1.")] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Train adapters of this rank only.")] = None,
    freeze: Annotated[str | None, typer.Option(help="vision, projector, language; by commas.")] = None,
    token_budget: Annotated[int | None, typer.Option(help="Most tokens of a micro-batch. [default: 16384]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the order of the data. [default: 0]")] = None,
    on: Annotated[str | None, typer.Option(help="here (also under torchrun), or ray. [default: here]")] = None,
    workers: Annotated[int | None, typer.Option(help="For ray: training processes.")] = None,
    address: Annotated[str | None, typer.Option(help="For ray: local, auto or ray://HOST:PORT.")] = None,
) -> None:
    """MPO on a built dataset: 0.8 DPO + 0.2 BCO + 1.0 SFT, each image and prompt computed once for all its pairs."""
    from rich.console import Console

    from mmpr_pipeline.training.settings import load_train_config, parse_weights

    if data and config is None and data.endswith((".yaml", ".yml")):
        config, data = Path(data), None
    settings = load_train_config(
        config,
        {
            "data": data,
            "run_dir": run_dir,
            "model": model,
            "revision": revision,
            "export": export,
            "recipe": recipe,
            "epochs": epochs,
            "batch": batch,
            "max_steps": max_steps,
            "lr": lr,
            "loss": loss,
            "loss_weights": parse_weights(loss_weights) if loss_weights else None,
            "lora.rank": lora_rank,
            "freeze": freeze.split(",") if freeze else None,
            "token_budget": token_budget,
            "seed": seed,
            "launch.on": on,
            "launch.workers": workers,
            "launch.address": address,
        },
    )
    from mmpr_pipeline.training.run.console import NoTrainingView, TrainingConsole
    from mmpr_pipeline.training.run.launch import run_training

    if int(os.environ.get("RANK", "0")):
        run_training(settings, NoTrainingView(), resume=resume)
        return
    with TrainingConsole(Console()) as view:
        result = run_training(settings, view, resume=resume)
    if result.interrupted and "RANK" not in os.environ:  # torchrun would take a status for a crash, and start again
        raise typer.Exit(STOPPED)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Original InternVL2 or 2.5 checkpoint: directory or Hub id.")],
    out: Annotated[Path, typer.Argument(help="New directory for the transformers-native one.")],
) -> None:
    """An original InternVL checkpoint to the transformers-native format, from raw tensors, without its code."""
    from mmpr_pipeline.models.convert.run import convert as write

    done = write(source, out)
    tied = "tied" if done["tied"] else "untied"
    print(f"{out}: {done['tensors']:,} tensors, {done['bytes'] / 2**30:.1f} GiB, {done['text']}, {tied} embeddings")


@app.command()
def plot(
    run: Annotated[str, typer.Argument(help="Directory of a training run.")],
    out: Annotated[str | None, typer.Option(help="The picture. [default: RUN/metrics.svg]")] = None,
) -> None:
    """The curves of a training run as a picture."""
    from mmpr_pipeline.training.run.plot import plot as draw

    print(draw(run, out))
