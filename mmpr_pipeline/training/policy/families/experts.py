"""Mixtures of experts: the auxiliary loss that keeps their load even.

With f_e the share of tokens (of all layers) that take expert e among their k, and P_e the mean probability that the
routers give it: E · Σ_e f_e P_e over E experts; k where the load is even. Fedus et al. 2022 (Switch Transformer, arXiv
2101.03961, eq. 4-6), as transformers computes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Experts:
    """E experts of which each token takes `taken`; `weight` is the config's own of the auxiliary loss."""

    count: int
    taken: int
    weight: float


def experts_of(config: Any) -> Experts | None:
    """Of a text config; None for a dense model."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((int(found) for name in names if (found := getattr(config, name, None))), 0)
    taken = getattr(config, "num_experts_per_tok", None) or getattr(config, "moe_topk", None)
    if count < 2 or not taken:
        return None
    return Experts(count, int(taken), float(getattr(config, "router_aux_loss_coef", None) or 0.0))


@dataclass
class Routing:
    """What the routers of a forward gave: logits (tokens, E) of each layer that has experts."""

    logits: tuple[Tensor, ...] = field(default_factory=tuple)


@contextmanager
def recorded(language: nn.Module, on: bool) -> Iterator[Routing]:
    """Within, forwards of a language model leave their router logits in what is given."""
    found = Routing()
    if not on:
        yield found
        return

    def ask(module: nn.Module, args: Any, kwargs: dict[str, object]) -> Any:
        return args, {**kwargs, "output_router_logits": True}

    def keep(module: nn.Module, args: Any, out: Any) -> None:
        found.logits = tuple(getattr(out, "router_logits", None) or ())

    handles = [language.register_forward_pre_hook(ask, with_kwargs=True), language.register_forward_hook(keep)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def imbalance(routing: Routing, experts: Experts, real: Tensor | None = None) -> Tensor:
    """The auxiliary loss, a scalar with gradient; `real` (tokens,) is False for padding. 0 where nothing was routed."""
    if not routing.logits:
        return torch.zeros(())
    probabilities = [logits.float().softmax(-1) for logits in routing.logits]
    if real is not None:
        probabilities = [p[real.flatten()] for p in probabilities]
    joined = torch.cat(probabilities)
    taken = joined.topk(experts.taken, -1).indices.flatten().bincount(minlength=experts.count)
    return experts.count * (taken / len(joined) * joined.mean(0)).sum()
