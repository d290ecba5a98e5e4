"""Seconds, MFU and memory of a step, packed to the budget as the trainer packs it, and of the same pairs row by row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.gpu.kernels import Found
from bench.gpu.made import (
    CUDA,
    DEVICE,
    HALF,
    SHAPES,
    clear,
    make_groups,
    make_model,
    packed,
    peak_gib,
    plain_scores,
    step_flops,
    timed,
)
from mmpr_pipeline.training.objective.loss import PairLogProbs, mpo
from mmpr_pipeline.training.objective.pair_scores import pair_log_probs
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.policy.recompute import set_checkpointing

CASES = [
    ("varlen", "matmuls", False), ("varlen", "full", False), ("varlen", "full", True), ("flex", "full", False),
    ("sdpa", "full", False), ("varlen", "none", False),
]  # fmt: skip


def speed(results: dict[str, Any], until: float) -> Found:
    """Forward and backward of the loss at 2B, 8B and 1B, one pair and four pairs a question, about 16k tokens."""
    figures: dict[str, Any] = {}
    claims: dict[str, bool] = {}
    peak = results["peak"]["figures"]["tflops"] * 1e12
    for name in ("2B", "8B", "1B") if CUDA else ("tiny",):
        shape = SHAPES[name]
        clear()
        model = make_model(shape, HALF)
        for pairs, count in [(1, 6), (4, 4)] if CUDA else [(1, 2), (2, 1)]:
            groups, images = make_groups(shape, count, pairs)
            batch, total = packed(groups, images), sum(len(group.pairs) for group in groups)
            row: dict[str, Any] = {"tokens": batch.tokens, "pairs": total}
            for backend, kept, compiled in CASES if CUDA else [("sdpa", "full", False), ("sdpa", "matmuls", False)]:
                case = f"{backend} {kept}{' compiled' if compiled else ''}"
                if time.monotonic() > until:
                    row[case] = "no time left"
                    continue
                clear()
                set_checkpointing(model, kept)  # type: ignore[arg-type]
                policy = PrefixSharedPolicy(model, backend=backend)  # type: ignore[arg-type]

                def step(policy: Any = policy, batch: Any = batch, model: Any = model) -> None:
                    scores = policy(batch).responses
                    reference = scores.detach()
                    sides = (reference[index.to(DEVICE)] for index in (batch.chosen, batch.rejected))
                    mpo(pair_log_probs(batch, scores, *sides)).total.mean().backward()
                    model.zero_grad(set_to_none=True)

                try:
                    with _compiled(model, compiled):
                        row[case] = _measured(step, total, step_flops(shape, model, groups, True), peak)
                except Exception as problem:
                    row[case] = f"{type(problem).__name__}: {str(problem)[:160]}"
                policy.release()
                model.zero_grad(set_to_none=True)
            row["concatenated full"] = _concatenated(model, shape, groups, images, peak)
            title = f"{name}, {count} of {pairs}+{pairs}"
            figures[title] = row
            best = max(
                (r["pairs_s"] for k, r in row.items() if isinstance(r, dict) and k != "concatenated full"), default=0
            )
            beside = row["concatenated full"]
            if CUDA and isinstance(beside, dict):
                times = 1.6 if pairs == 1 else 3.0
                claims[f"{title}: {times} times concatenated rows"] = best > times * beside["pairs_s"]
        goal = {"2B": 0.45, "8B": 0.40}.get(name)
        if CUDA and goal:
            mfu = max(
                r["mfu"] for k, v in figures.items() if k.startswith(name) for r in v.values() if isinstance(r, dict)
            )
            claims[f"{name}: MFU of {goal:.0%}"] = mfu >= goal
        del model
    return figures, claims


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


@contextmanager
def _compiled(model: Any, wanted: bool) -> Iterator[None]:
    """Norms and MLPs of the language model fused by torch.compile."""
    layers = model.model.language_model.layers if wanted else []
    parts = [part for layer in layers for part in (layer.input_layernorm, layer.post_attention_layernorm, layer.mlp)]
    for part in parts:
        part.compile(dynamic=True)
    try:
        yield
    finally:
        for part in parts:
            part._compiled_call_impl = None


def _measured(step: Any, pairs: int, flops: float, peak: float, repeats: int = 3) -> dict[str, float]:
    seconds = timed(step, repeats, warm=1)
    return {"ms": seconds * 1e3, "pairs_s": pairs / seconds, "mfu": flops / seconds / peak, "gib": peak_gib()}
