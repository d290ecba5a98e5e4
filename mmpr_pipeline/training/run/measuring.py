"""What is measured at checkpoints, and before the first step: held-out pairs, fixed questions, benchmarks.

RUN/held_out.jsonl   a line a checkpoint: `step` finished steps; preference `accuracy` (share of pairs with h_c > h_r),
                     `reward/margin`, `nll`, `loss` and the rest as in metrics.jsonl; `benchmarks` by name, if any
RUN/best.json        the step of the best line so far, by the setting `best_by`; its checkpoint is kept
RUN/samples.jsonl    a line an answer: `step` finished steps, question_id, `question`, `answer` (the gold), `text`, and
                     for questions with a gold the checker's `outcome`
RUN/benchmarks/step-00000200/   what `mmpr eval --out` writes: results, responses, log
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch.distributed.fsdp import FSDPModule

from mmpr_pipeline.checking.api import check
from mmpr_pipeline.core.errors import ItemRejected, TrainingError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.data.encode import PairReject
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import Stream, in_turns, prefetch
from mmpr_pipeline.training.objective.loss import mixed
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.run_folder import HELD_OUT, SampleLine, read_lines
from mmpr_pipeline.training.run.step import Learner, Sums
from mmpr_pipeline.training.settings import BenchmarkSettings
from mmpr_pipeline.training.world import World

BENCHMARKS, BEST = "benchmarks", "best.json"
HELD_OUT_METRICS = {"accuracy": "accuracy", "margin": "reward/margin", "nll": "nll", "loss": "loss"}
_HIGHER: frozenset[str] = frozenset({"accuracy", "margin"})
_OF_THE_LAUNCHER = ("RANK", "LOCAL_", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


class Measured(TypedDict):
    """A benchmark's first metric, and whether less of it is better."""

    value: float
    less_is_better: bool


@torch.no_grad()
def measure_held_out(
    learner: Learner, stream: Stream, slices: Sequence[Slice], rows: Any, stopping: Callable[[], bool]
) -> dict[str, float]:
    """Means over the pairs of `slices`, by all ranks together; δ is that of the steps so far and does not move.

    Raises Stopped where any rank is asked to stop: a checkpoint comes first.
    """
    sums, rejects = Sums(learner.weights), list[PairReject]()
    with closing(prefetch(stream.steps([(0, list(slices))], rows))) as events:
        for event in in_turns(learner.world, events, rejects, stopping):
            _, pairs = learner.score(event)
            if event and pairs:
                loss = mixed(pairs, learner.weights, learner.settings, learner.shift.value)
                sums.add_batch(event.batch, pairs, loss, learner.settings.beta, 0.0)
    sums.values["rejected"] += len(rejects)
    found = sums.result(learner.world)
    unwanted = ("flops", "micro_batches", "imbalance", "reward/accuracy")
    return {"accuracy": found["reward/accuracy"], **{name: found[name] for name in found if name not in unwanted}}


def name_best(run: Path, place: CheckpointPlace, by: str) -> int | None:
    """The step of the best line that has a checkpoint, which is noted; None where there is none."""
    best = best_line(run, place.steps(), by)
    if best is None:
        return None
    [(value, _)] = _measured(best, by)
    step = int(best["step"])
    open_store(run).write(BEST, json_bytes({"step": step, "by": by, "value": value}))
    return step


def best_line(run: Path, steps: Sequence[int], by: str) -> Mapping[str, Any] | None:
    """The best line of a checkpoint that is there, of `steps`; equal ones go by the loss, then the earlier wins."""
    ranked = [
        (sign * value, line.get("loss", 0.0), line["step"], line)
        for line in read_lines(run / HELD_OUT)
        if line["step"] in steps
        for value, sign in _measured(line, by)
    ]
    return min(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def _measured(line: Mapping[str, Any], by: str) -> list[tuple[float, int]]:
    """What a line says of the metric `by`, and the sign that makes less of it better; none where that is missing."""
    if by in HELD_OUT_METRICS:
        return [(line[HELD_OUT_METRICS[by]], -1 if by in _HIGHER else 1)] if line.get("pairs") else []
    found = line.get("benchmarks", {}).get(by)
    return [(found["value"], 1 if found["less_is_better"] else -1)] if found else []


@torch.no_grad()
def answers(
    policy: PrefixSharedPolicy,
    stream: Stream,
    questions: Sequence[Slice],
    most: int,
    world: World,
    stopping: Callable[[], bool],
) -> Iterator[SampleLine]:
    """The policy's greedy answer to each question, of at most `most` tokens, by the model's own attention.

    By all ranks together, which gather sharded weights for each other. The policy is as it was before, afterwards. A
    question that cannot be encoded is passed over.
    """
    device, dtype, encoder = world.device, stream.dtype, stream.encoder
    training = policy.training
    policy.release()
    policy.eval()
    try:
        for each in questions:
            if world.any(stopping())[0]:
                return
            shard = stream.shards[each.shard]
            [pair] = shard.pairs(each.group, each.first, each.first + 1)
            try:
                prompt, images = encoder.prompt(pair, shard)
            except ItemRejected:
                continue
            ids = torch.tensor([prompt], device=device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                made = policy.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    **{name: value.to(device) for name, value in images.items()},
                    max_new_tokens=most,
                    do_sample=False,
                    eos_token_id=encoder.end,
                    pad_token_id=encoder.end,
                )
            text = encoder.text(made[0, ids.shape[1] :].tolist())
            line: SampleLine = {
                "question_id": pair.question_id, "question": pair.question, "answer": pair.answer, "text": text
            }  # fmt: skip
            if pair.answer is not None and pair.kind not in ("none", "choice"):  # a pair does not hold its choices
                line["outcome"] = check(text, pair.answer, kind=pair.kind).outcome
            yield line
    finally:
        policy.train(training)
        policy.take()
        if isinstance(policy, FSDPModule):
            policy.reshard()  # the root's weights, which generation leaves gathered


def measure_benchmarks(model: Path, out: Path, settings: BenchmarkSettings) -> dict[str, Measured]:
    """The first metric of each benchmark, in its first mode, by name: by `mmpr eval` in a process of its own.

    Raises TrainingError, with what `mmpr eval` said, where it fails.
    """
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "eval", str(model), "--out", str(out)]
    command += ["--benchmarks", ",".join(settings.names), *settings.options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_LAUNCHER)}
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "eval.log", "wb") as log:
        done = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        end_of_log = (out / "eval.log").read_text("utf-8", "replace").strip()[-800:]
        raise TrainingError(
            f"mmpr eval on {', '.join(settings.names)} failed: {end_of_log}",
            remedy=f"Run it alone: mmpr {' '.join(command[3:])}. The evaluation needs memory beside the training.",
        )
    found: dict[str, Measured] = {}
    for name, each in json.loads((out / "results.json").read_text("utf-8"))["benchmarks"].items():
        metric, mode = each["metrics"][0], next(iter(each["modes"].values()))
        [of_model] = mode["models"].values()
        value = float(of_model["measures"][metric["name"]]["value"])
        found[name] = {"value": value, "less_is_better": metric["better"] == "lower"}
    return found
