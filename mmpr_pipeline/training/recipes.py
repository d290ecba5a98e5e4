"""Published recipes of preference training, as defaults under a name: `--recipe internvl3`. Settings and flags win.

What differs from ours by design stays ours: prefixes are shared instead of packed or padded to a sequence length, and
stochastic depth is off (the authors train with 0 to 0.4 by size), as policy and reference must be the same function.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypedDict

from mmpr_pipeline.core.errors import ConfigError


class _Recommended(TypedDict, total=False):
    """Settings of `mmpr train` that a recipe may name."""

    loss: str
    beta: float
    schedule: str
    warm_up: float
    weight_decay: float
    epochs: int
    batch: int
    lr_end: float
    delta_decay: float
    loss_weights: dict[str, float]


class RecipeSettings(_Recommended):
    """Settings of `mmpr train`, among them the learning rate."""

    lr: float


@dataclass(frozen=True)
class PublishedRecipe:
    """Settings, and where they were read."""

    settings: RecipeSettings
    source: str
    note: str = ""


_PAPER: _Recommended = {
    "loss": "mpo",
    "beta": 0.1,
    "schedule": "cosine",
    "warm_up": 0.05,
    "weight_decay": 0.05,
    "epochs": 1,
}
_AUTHORS = "OpenGVLab's training scripts"

RECIPES: dict[str, PublishedRecipe] = {
    "internvl2": PublishedRecipe(
        {**_PAPER, "lr": 5e-6, "batch": 256},
        "arXiv 2411.10442, section 4.1 and appendix; InternVL2-8B-MPO",
        "Sequences of at most 6,144 tokens.",
    ),
    "internvl2.5": PublishedRecipe(
        {**_PAPER, "lr": 1e-6, "batch": 256},
        f"{_AUTHORS} of InternVL2.5-MPO",
        "Batch 512 for 38B and 78B; sequences of at most 8,192 tokens.",
    ),
    "internvl3": PublishedRecipe(
        {**_PAPER, "lr": 2e-7, "batch": 256},
        f"{_AUTHORS} of InternVL3, every size from 1B to 78B",
        "Batch 512 for 38B and 78B, whose scripts call step 400 the best; sequences of at most 12,288 tokens.",
    ),
    "internvl3.5": PublishedRecipe(
        {**_PAPER, "lr": 2e-7, "batch": 256},
        f"{_AUTHORS} of InternVL3.5, every size up to 241B-A28B",
        "Sequences of at most 16,384 tokens; GSPO follows.",
    ),
    "nemotron": PublishedRecipe(
        {
            **_PAPER, "lr": 8e-7, "lr_end": 2e-9, "batch": 256, "beta": 0.05, "delta_decay": 0.99,
            "loss_weights": {"dpo": 0.8, "bco": 0.2},
        },
        "NVIDIA Nemotron 3 Nano Omni; NeMo-RL, pull request 3345",
        "No SFT term, δ as a moving average; about 890k samples of public MMPR.",
    ),
}  # fmt: skip


def recipe_named(name: str) -> PublishedRecipe:
    """Raises ConfigError for an unknown name."""
    if name not in RECIPES:
        raise ConfigError(f"Unknown recipe {name!r}.", remedy=f"Use one of: {', '.join(RECIPES)}.")
    return RECIPES[name]


@dataclass(frozen=True)
class _Generation:
    recipe: str
    names: re.Pattern[str]
    texts: frozenset[str] = field(default_factory=frozenset)  # model types of the language model that tell it


_GENERATIONS = (
    _Generation("internvl3.5", re.compile(r"internvl[-_]?3[._]5", re.I), frozenset({"qwen3", "qwen3_moe", "gpt_oss"})),
    _Generation("internvl3", re.compile(r"internvl[-_]?3(?![._]5)", re.I)),
    _Generation("internvl2.5", re.compile(r"internvl[-_]?2[._]5", re.I)),
    _Generation("internvl2", re.compile(r"internvl[-_]?2(?![._]5)|mini-internvl", re.I)),
    _Generation("nemotron", re.compile(r"nemotron.*omni", re.I)),
)


def recipe_of(name: str, text_type: str | None) -> str | None:
    """The recipe of a model's generation, by its name, else by its language model; None where neither tells it."""
    for generation in _GENERATIONS:
        if generation.names.search(name):
            return generation.recipe
    return next((g.recipe for g in _GENERATIONS if text_type in g.texts), None)


def warning(lr: float, name: str, model_type: str, text_type: str | None) -> str | None:
    """What to say where a rate is far above what a model's own authors took; None where nothing is to be said.

    The default rate is the paper's, for InternVL2. Models since then come from longer training, on preferences among
    it, and were tuned with a fifth to a twenty-fifth of it.
    """
    known = recipe_of(name, text_type) if model_type == "internvl" else recipe_of(name, None)
    if known is None and model_type != "internvl":
        known_rate, who = RECIPES["internvl2.5"].settings["lr"], "newer models whose recipes are known"
        hint = "try --lr 1e-6 or 2e-7 first"
    elif known is None or known == "internvl2":
        return None
    else:
        known_rate, who = RECIPES[known].settings["lr"], f"this generation of models ({known})"
        hint = f"use --recipe {known}"
    if lr <= 2 * known_rate:
        return None
    return (
        f"Learning rate {lr:.0e} is far above what {who} took ({known_rate:.0e} or less): {hint}, and watch the"
        " held-out pairs. The default, 5e-6, is InternVL2's."
    )
