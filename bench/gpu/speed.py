"""Seconds, MFU and memory of a step, packed to the budget as the trainer packs it, and of the same pairs row by row."""

from __future__ import annotations

import time
from typing import Any

from bench.gpu.kernels import Found
from bench.gpu.made import (
    CUDA,
    DEVICE,
    HALF,
    SHAPES,
    Shape,
    clear,
    make_groups,
    make_model,
    packed,
    peak_gib,
    plain_scores,
    step_flops,
    timed,
)
from mmpr_pipeline.training.objective.loss import PairLogProbs, mpo, pair_log_probs
from mmpr_pipeline.training.policy.layers import fuse, set_checkpointing
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

CASES = [("varlen", "matmuls"), ("varlen", "full"), ("flex", "full"), ("sdpa", "full"), ("varlen", "none")]
SECONDS_A_PAIR = 2.5  # GPU-seconds, 8B, four pairs a question


def speed(results: dict[str, Any], until: float) -> Found:
    """Forward and backward of the loss at 2B, 8B and 1B, one pair and four pairs a question, about 16k tokens.

    `s_pair`: GPU-seconds a pair, without the optimizer's step, which comes once in hundreds of pairs.
    """
    figures: dict[str, Any] = {}
    claims: dict[str, bool] = {}
    peak = results["peak"]["figures"]["tflops"] * 1e12
    for name in ("2B", "8B", "1B") if CUDA else ("tiny",):
        shape = SHAPES[name]
        clear()
        model = make_model(shape, HALF)
        heard: list[str] = []
        layers = fuse(model.model.language_model, DEVICE, HALF, heard.append)
        for pairs, count in [(1, 6), (4, 4)] if CUDA else [(1, 2), (2, 1)]:
            groups, images = make_groups(shape, count, pairs)
            title = f"{name}, {count} of {pairs}+{pairs}"
            row = figures[title] = {"layers": layers, "refused": heard}
            for number, (backend, kept) in enumerate(CASES if CUDA else [("sdpa", "full"), ("sdpa", "matmuls")]):
                few = count // 2 if name == "8B" and kept != "full" else count  # what fits beside weights and gradients
                case = f"{backend} {kept}"
                row[case] = (
                    _shared(model, shape, groups[:few], images[:few], backend, kept, peak)
                    if time.monotonic() < until
                    else "no time left"
                )
                if number == 1:  # what is claimed comes before the other kernels
                    row["concatenated full"] = _concatenated(model, shape, groups, images, peak)
            ours = [r for k, r in row.items() if isinstance(r, dict) and k != "concatenated full"]
            beside = row["concatenated full"]
            if CUDA:
                times, best = 1.6 if pairs == 1 else 3.0, max((r["pairs_s"] for r in ours), default=0.0)
                claims[f"{title}: {times} times concatenated rows"] = (
                    isinstance(beside, dict) and best > times * beside["pairs_s"]
                )
            if CUDA and (name, pairs) == ("8B", 4):
                claims[f"{title}: at most {SECONDS_A_PAIR} GPU-seconds a pair"] = (
                    min((r["s_pair"] for r in ours), default=9.9) <= SECONDS_A_PAIR
                )
        goal = {"2B": 0.45, "8B": 0.40}.get(name)
        if CUDA and goal:
            mfu = [
                r["mfu"] for k, v in figures.items() if k.startswith(name) for r in v.values() if isinstance(r, dict)
            ]
            claims[f"{name}: MFU of {goal:.0%}"] = max(mfu, default=0.0) >= goal
        del model
    return figures, claims


def _shared(model: Any, shape: Shape, groups: Any, images: Any, backend: Any, kept: Any, peak: float) -> Any:
    batch = packed(groups, images)
    clear()
    set_checkpointing(model, kept)
    policy = PrefixSharedPolicy(model, backend=backend)

    def step() -> None:
        scores = policy(batch).responses
        reference = scores.detach()
        sides = (reference[index.to(DEVICE)] for index in (batch.chosen, batch.rejected))
        mpo(pair_log_probs(batch, scores, *sides)).total.mean().backward()
        model.zero_grad(set_to_none=True)

    total = sum(len(group.pairs) for group in groups)
    try:
        return {"tokens": batch.tokens, **_measured(step, total, step_flops(shape, model, groups, True), peak)}
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem)[:160]}"
    finally:
        policy.release()
        model.zero_grad(set_to_none=True)


def _concatenated(model: Any, shape: Any, groups: Any, images: Any, peak: float) -> Any:
    total = sum(len(group.pairs) for group in groups)

    def step() -> None:
        for group, image in zip(groups, images, strict=True):
            scores, lengths = plain_scores(model, group, image)
            (c, r), (long, short) = scores.view(-1, 2).T, lengths.view(-1, 2).T
            (mpo(PairLogProbs(c, r, c.detach(), r.detach(), long, short)).total.sum() / total).backward()
        model.zero_grad(set_to_none=True)

    clear()
    set_checkpointing(model, "full")
    try:
        return _measured(step, total, step_flops(shape, model, groups, False), peak, repeats=2)
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem)[:160]}"


def _measured(step: Any, pairs: int, flops: float, peak: float, repeats: int = 3) -> dict[str, float]:
    seconds = timed(step, repeats, warm=1)
    return {
        "ms": seconds * 1e3,
        "pairs_s": pairs / seconds,
        "s_pair": seconds / pairs,
        "mfu": flops / seconds / peak,
        "gib": peak_gib(),
    }
