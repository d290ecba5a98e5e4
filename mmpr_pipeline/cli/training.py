"""`mmpr train`, `convert` and `plot`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mmpr_pipeline.cli.app import app, example
from mmpr_pipeline.cli.options import settings_options
from mmpr_pipeline.core.settings import TRAINING
from mmpr_pipeline.training.settings import TrainConfig, load_train_config, parse_weights

STOPPED = 143  # as a shell says it of a process that SIGTERM ended: whoever started the run knows that it is not done


@app.command(
    epilog=example(
        "mmpr train out/geoqa-mathvista --export best",
        "mmpr train pairs --model OpenGVLab/InternVL3-2B-hf --recipe internvl3 --lora-rank 16",
        docs="training.md and docs/settings.md",
    )
)
@settings_options(TrainConfig)
def train(
    flags: dict[str, object],
    data: Annotated[str | None, typer.Argument(help="Output of `mmpr build`; or a YAML file of settings.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags win over it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    loss_weights: Annotated[
        str | None,
        typer.Option(help="Weights by term instead of a named loss: dpo=0.8,bco=0.2,sft=1.", rich_help_panel=TRAINING),
    ] = None,
) -> None:
    """MPO on a built dataset: 0.8 DPO + 0.2 BCO + 1.0 SFT. Images and prompts are computed once for all their pairs."""
    from rich.console import Console

    if data and config is None and data.endswith((".yaml", ".yml")):
        config, data = Path(data), None
    weights = parse_weights(loss_weights) if loss_weights else None
    settings = load_train_config(config, {**flags, "data": data, "loss_weights": weights})
    from mmpr_pipeline.training.run.launch import run_training
    from mmpr_pipeline.training.run.run_folder import TrainingView
    from mmpr_pipeline.training.run.view import TrainingConsole

    if int(os.environ.get("RANK", "0")):
        run_training(settings, TrainingView(), resume=resume)
        return
    with TrainingConsole(Console()) as view:
        result = run_training(settings, view, resume=resume)
    if result.interrupted and "RANK" not in os.environ:  # torchrun would take a status for a crash, and start again
        raise typer.Exit(STOPPED)


@app.command(epilog=example("mmpr convert OpenGVLab/InternVL2-8B", docs="training.md"))
def convert(
    source: Annotated[str, typer.Argument(help="Original InternVL2 or 2.5 checkpoint: directory or Hub id.")],
    out: Annotated[
        Path | None, typer.Argument(help=r"New directory to write to. \[default: NAME-native]", show_default=False)
    ] = None,
) -> None:
    """An original InternVL checkpoint to the transformers-native format, from raw tensors, without its code."""
    from mmpr_pipeline.models.convert.run import convert as write

    out = out or Path(f"{Path(source).name}-native")
    done = write(source, out)
    tied = "tied" if done.tied else "untied"
    print(f"{out}: {done.tensors:,} tensors, {done.bytes / 2**30:.1f} GiB, {done.text}, {tied} embeddings")


@app.command(epilog=example("mmpr plot runs/geoqa-mathvista", docs="training.md"))
def plot(
    run: Annotated[str, typer.Argument(help="Directory of a training run.")],
    out: Annotated[str | None, typer.Option(help="The picture to write. \\[default: RUN/metrics.svg]")] = None,
    smoothing: Annotated[
        float, typer.Option(help="Weight of the past in the moving average; 0 draws the raw values alone.")
    ] = 0.8,
) -> None:
    """The curves of a training run as a picture, smoothed over the raw values."""
    from mmpr_pipeline.training.run.view import plot as draw

    print(draw(run, out, smoothing))
