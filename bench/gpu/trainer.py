"""The trainer's own parts in the trainer's own order on one device; and the command itself, to the export."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bench.gpu.kernels import Found
from bench.gpu.made import CUDA, DEVICE, SHAPES, clear, make_groups, make_model, packed, peak_gib, timed
from mmpr_pipeline.training.checkpoints import Checkpointer, CheckpointPlace, RunProgress
from mmpr_pipeline.training.objective.loss import mpo, pair_log_probs
from mmpr_pipeline.training.policy.kernels import choose_backend
from mmpr_pipeline.training.policy.layers import set_checkpointing
from mmpr_pipeline.training.policy.load import shard
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.step import clip, make_optimizer
from mmpr_pipeline.training.world import connect

ROOT = Path(__file__).resolve().parents[2]


def trainer(results: dict[str, Any], until: float) -> Found:
    """FSDP2 over this device, bf16 over float32 weights, the reference first, AdamW, a checkpoint, a resume."""
    shape = SHAPES["1B/4" if CUDA else "tiny"]
    with connect("auto") as world:
        clear()
        policy = PrefixSharedPolicy(make_model(shape, torch.float32))
        set_checkpointing(policy.bare, "full")
        shard(policy.train(), world, torch.bfloat16 if CUDA else torch.float32, {})
        optimizer = make_optimizer(policy, 0.05, (0.9, 0.999))
        for group in optimizer.param_groups:
            group["lr"] = 1e-5
        said: list[str] = []
        policy.backend = choose_backend(DEVICE, torch.bfloat16 if CUDA else torch.float32, notify=said.append)
        groups, images = make_groups(shape, *((4, 4) if CUDA else (2, 1)))
        batch = packed(groups, images)
        with torch.no_grad():
            reference = policy(batch).responses.float()
        gathered = sum(not hasattr(p, "full_tensor") for p in policy.parameters()) if CUDA else 0
        before = {name: _whole(p) for name, p in policy.named_parameters()}
        losses: list[float] = []

        def step() -> None:
            scores = policy(batch).responses
            sides = (reference[index.to(DEVICE)] for index in (batch.chosen, batch.rejected))
            loss = mpo(pair_log_probs(batch, scores, *sides))
            loss.total.mean().backward()
            losses.append(float((loss.total - (0 if losses else loss.terms["sft"])).mean()))
            clip(policy, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        seconds = timed(step, 4, 2)
        used = peak_gib()
        figures: dict[str, Any] = {
            "attention": policy.backend, "refused": said, "ms": seconds * 1e3, "first_loss_less_nll": losses[0],
            "losses": losses[1:], "gib": used,
            "stuck": [name for name, p in policy.named_parameters() if torch.equal(_whole(p), before[name])],
        }  # fmt: skip
        run = Path(tempfile.mkdtemp())
        began = time.monotonic()
        checkpointer = Checkpointer(CheckpointPlace(run), world, policy, optimizer)
        checkpointer.save(RunProgress(6, 6, 0.0, 0))
        figures["checkpoint_copy_s"] = time.monotonic() - began
        checkpointer.wait()
        figures["checkpoint_s"] = time.monotonic() - began
        step()
        after = losses.pop()
        checkpointer.load(6)
        step()
        shutil.rmtree(run, ignore_errors=True)
        figures["resumed_apart"] = abs(losses[-1] - after)
        return figures, {
            "the fast attention was chosen": not CUDA or policy.backend != "sdpa",
            "nothing is gathered after the reference": gathered == 0,
            "every tensor moved": not figures["stuck"],
            "the first loss is 0.8318 + NLL": abs(losses[0] - 0.8318) < 0.01,
            "losses fall": losses[-1] < losses[1],
            "a resumed run goes on alike": figures["resumed_apart"] < 1e-3,
        }


def _whole(parameter: Any) -> torch.Tensor:
    value = parameter.detach()
    return (value.full_tensor() if hasattr(value, "full_tensor") else value).cpu().clone()


def command(results: dict[str, Any], until: float) -> Found:
    """`mmpr train` itself: a tiny model, 20 pairs that nobody scored, a run in two halves, its export; losses beside
    those of the CPU."""
    from tests.training import made

    place = Path(tempfile.mkdtemp())
    made.model_folder(place / "model")
    made.dataset(place / "data")

    def losses_on(device: str) -> list[float]:
        run = place / device
        common = {"epochs": 2, "lr": 1e-3, "checkpoint_every": 4, "launch": {"device": device}}
        settings = made.settings(place / "model", place / "data", run, export=str(place / f"{device}-out"), **common)
        file = place / f"{device}.yaml"
        file.write_text(settings.model_dump_json())
        start = [sys.executable, "-m", "mmpr_pipeline.cli", "train", str(file)]
        for more in (["--max-steps", "4"], ["--resume"]):
            done = subprocess.run([*start, *more], cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"on {device}: {(done.stdout + done.stderr)[-1800:]}")
        return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]

    devices = ("cuda", "cpu") if CUDA else ("cpu",)
    try:
        with ThreadPoolExecutor() as pool:  # side by side: most of both is the start of Python
            losses = dict(zip(devices, pool.map(losses_on, devices), strict=True))
        exported = (place / f"{devices[0]}-out" / "config.json").is_file()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    pairs = list(zip(*losses.values(), strict=True))
    return {"losses": losses}, {
        "the model is exported": exported,
        "losses are those of the CPU": all(abs(a[0] - a[-1]) < 0.02 * abs(a[0]) for a in pairs),
    }
