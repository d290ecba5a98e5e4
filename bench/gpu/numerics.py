"""Is what half precision computes as near to float32 as plain rows are?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.gpu.kernels import Found
from bench.gpu.made import CUDA, DEVICE, HALF, SHAPES, make_groups, make_model, packed, plain_scores
from mmpr_pipeline.training.objective.loss import PairLogProbs, mpo, pair_log_probs
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy


def numerics(results: dict[str, Any], until: float) -> Found:
    """Log-probs off the truth (float32, plain rows), gradients apart, the first loss; by kernel."""
    shape = SHAPES["8B/4" if CUDA else "tiny"]
    model = make_model(shape, torch.float32)
    [group], [images] = make_groups(shape, 1, 2)
    order = torch.tensor([i for pair in group.pairs for i in (pair.chosen, pair.rejected)], device=DEVICE)
    with torch.no_grad():
        truth, lengths = plain_scores(model, group, images)
    model = model.to(HALF)
    figures: dict[str, Any] = {"nats_a_response": float(truth.abs().mean())}
    gradients: dict[str, Tensor] = {}
    for kind in ("plain", "varlen", "flex", "sdpa") if CUDA else ("plain", "sdpa"):
        model.zero_grad(set_to_none=True)
        try:
            if kind == "plain":
                with torch.no_grad():
                    before, _ = plain_scores(model, group, images)
                scores, _ = plain_scores(model, group, images)
                loss = mpo(PairLogProbs(*scores.view(-1, 2).T, *before.view(-1, 2).T, *lengths.view(-1, 2).T))
            else:
                policy = PrefixSharedPolicy(model, backend=kind)  # type: ignore[arg-type]
                batch = packed([group], [images])
                with torch.no_grad():
                    reference = policy(batch).responses
                responses = policy(batch).responses
                scores = responses[order]
                loss = mpo(
                    pair_log_probs(batch, responses, *(reference[i.to(DEVICE)] for i in (batch.chosen, batch.rejected)))
                )
                policy.release()
            loss.total.mean().backward()
        except Exception as problem:
            figures[kind] = f"{type(problem).__name__}: {str(problem)[:200]}"
            continue
        gradients[kind] = torch.cat([p.grad.flatten()[:4096].float() for p in model.parameters() if p.grad is not None])
        apart = (gradients[kind] - gradients["plain"]).norm() / gradients["plain"].norm()
        figures[kind] = {
            "off_nats_a_response": float((scores.detach().float() - truth).abs().mean()),
            "first_loss_less_nll": float((loss.total - loss.terms["sft"]).mean()),
            "gradient_apart_from_plain": float(apart),
        }
    plain, shared = figures["plain"], {k: v for k, v in figures.items() if isinstance(v, dict) and k != "plain"}
    floor = 1e-3  # nats: what float32 itself is off
    return figures, {
        "some kernel runs": bool(shared),
        "log-probs are as near to float32 as plain rows are": all(
            row["off_nats_a_response"] <= 1.3 * plain["off_nats_a_response"] + floor for row in shared.values()
        ),
        "gradients are those of plain rows": all(row["gradient_apart_from_plain"] < 0.03 for row in shared.values()),
        "the first loss is 0.8318 + NLL": all(abs(r["first_loss_less_nll"] - 0.8318) < 0.01 for r in shared.values()),
    }
