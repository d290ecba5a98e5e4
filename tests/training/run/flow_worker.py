"""Whole training runs, one after the other, in each of several processes: from a dataset that nobody has scored to
the export. `main([DIR, *NAMES])` trains these cases of `CASES` into DIR/RANKS; `run_all` does the same in one process.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.training_size import most_taken
from mmpr_pipeline.training.policy.load import empty_model, fill, shard, stored_weights
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.export import write_weights
from mmpr_pipeline.training.run.loop import Trainer
from mmpr_pipeline.training.run.run_folder import TrainingView
from mmpr_pipeline.training.world import World, connect
from tests.training import made

CASES: dict[str, dict[str, Any]] = {
    "stored": {},
    "stored-bf16": {"dtype": "bfloat16"},
    "online": {"reference": "online", "recompute": "matmuls"},
    "online-bf16": {"reference": "online", "dtype": "bfloat16"},
    "lora": {"lora": {"rank": 4}},
    "lora-bf16": {"lora": {"rank": 4}, "dtype": "bfloat16"},
    "qlora": {"lora": {"rank": 4, "quantise": "nf4"}},
    "tr-dpo, frozen tower": {"loss": "tr_dpo+sft", "follow_every": 1, "freeze": ["vision"], "recompute": "full"},
    "hsdp": {"launch": {"device": "cpu", "shard_over": 2}},
}


def run_all(directory: Path, names: Sequence[str], world: World) -> None:
    """These cases. Alone on the CPU there is no mixed precision."""
    for name in names:
        run_case(directory, name, CASES[name], world)


def measure_memory(directory: Path, world: World) -> None:
    """Load and export a model of 0.5 GB; `memory-RANK.json`: bytes of the model, of a shard, of the largest tensor, and
    the most that this rank had taken of its own."""
    folder = directory / "large"
    if world.is_main:
        made.large_folder(folder)
    world.all_gather(None)
    model = empty_model(folder)
    stored = stored_weights(folder, model)
    assert stored is not None
    sizes = [4 * p.numel() for p in model.parameters()]
    with most_taken() as most:
        policy = shard(PrefixSharedPolicy(model), world, torch.float32, {})
        fill(policy, stored, world.device, 0)
        (directory / "written").mkdir(exist_ok=True)
        world.all_gather(None)
        write_weights(policy, stored, directory / "written", 0.0, world)
    found = {"model": sum(sizes), "shard": sum(sizes) // world.size, "largest": max(sizes), "taken": most[0]}
    (directory / f"memory-{world.rank}.json").write_text(json.dumps(found))


def run_case(directory: Path, name: str, options: dict[str, Any], world: World) -> None:
    """Train a case in two halves, the second resumed from the first's checkpoint; export it.

    `moved.json` says which trained tensors did not move, `exported.json` how far the exported weights are from the
    trained ones.
    """
    place = directory / str(world.size) / name
    if world.is_main:  # a copy that was never scored
        shutil.copytree(directory / "data", place / "data")
    world.all_gather(None)
    config = made.settings(
        directory / "model", place / "data", place / "run", batch=5, token_budget=128, checkpoint_every=2,
        export=str(place / "export"), **options,
    )  # fmt: skip
    first = config.model_copy(update={"max_steps": 2, "export": None})
    trainer = Trainer(first, world, TrainingView(), False, threading.Event())
    before = trained(trainer)
    trainer.run()
    after = trained(trainer)
    trainer = Trainer(config, world, TrainingView(), True, threading.Event())
    trainer.run()
    merged = trained(trainer)
    if world.is_main:
        stuck = [key for key, value in before.items() if torch.equal(value, after[key])]
        (place / "moved.json").write_text(json.dumps({"trained": len(before), "stuck": stuck}))
        if "lora" not in options:
            (place / "exported.json").write_text(json.dumps(distance(place / "export", merged)))


def trained(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Every trained tensor, whole."""
    found = {n: p.detach() for n, p in trainer.policy.named_parameters() if p.requires_grad}
    return {n: (p.full_tensor() if hasattr(p, "full_tensor") else p).clone() for n, p in found.items()}


def distance(export: Path, weights: dict[str, torch.Tensor]) -> float:
    """The largest difference between exported and trained weights; infinite where one is missing."""
    from mmpr_pipeline.training.policy.load import load_model

    model = dict(load_model(export).named_parameters())
    named = {name.removeprefix("model."): value for name, value in weights.items()}
    return max(float((model[n].detach() - v).abs().max()) if n in model else float("inf") for n, v in named.items())


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    directory, *names = arguments
    with connect("cpu") as world:
        if world.size == 4:
            measure_memory(Path(directory), world)
        run_all(Path(directory), names, world)
