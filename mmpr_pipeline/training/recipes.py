"""Published recipes of preference training, as defaults under a name: `--recipe internvl3`. Settings and flags win.

What a recipe does not name is the paper's, as our defaults are. What differs from ours by design stays ours: prefixes
are shared instead of packed or padded to a sequence length, and stochastic depth is off (the authors train with 0 to
0.4 by size), as policy and reference must be the same function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmpr_pipeline.core.errors import ConfigError


@dataclass(frozen=True)
class PublishedRecipe:
    """A learning rate and other settings, where they were read, and the models that they are for: by the model's name,
    or by the type of its language model where that tells the generation."""

    lr: float
    source: str
    names: re.Pattern[str]
    texts: frozenset[str] = frozenset()
    others: Mapping[str, object] = field(default_factory=dict)


_AUTHORS = "OpenGVLab's training scripts of"
_LARGE = "Batch 512 for 38B and 78B"

RECIPES: dict[str, PublishedRecipe] = {
    "internvl2": PublishedRecipe(
        5e-6,
        "arXiv 2411.10442, section 4.1 and appendix; InternVL2-8B-MPO. Sequences of at most 6,144 tokens.",
        re.compile(r"internvl[-_]?2(?![._]5)|mini-internvl", re.I),
    ),
    "internvl2.5": PublishedRecipe(
        1e-6,
        f"{_AUTHORS} InternVL2.5-MPO. {_LARGE}; sequences of at most 8,192 tokens.",
        re.compile(r"internvl[-_]?2[._]5", re.I),
    ),
    "internvl3": PublishedRecipe(
        2e-7,
        f"{_AUTHORS} InternVL3, every size from 1B to 78B. {_LARGE}, whose scripts call step 400 the best; sequences of"
        " at most 12,288 tokens.",
        re.compile(r"internvl[-_]?3(?![._]5)", re.I),
    ),
    "internvl3.5": PublishedRecipe(
        2e-7,
        f"{_AUTHORS} InternVL3.5, every size up to 241B-A28B. Sequences of at most 16,384 tokens; GSPO follows.",
        re.compile(r"internvl[-_]?3[._]5", re.I),
        frozenset({"qwen3", "qwen3_moe", "gpt_oss"}),
    ),
    "nemotron": PublishedRecipe(
        8e-7,
        "NVIDIA Nemotron 3 Nano Omni; NeMo-RL, pull request 3345. No SFT term, δ as a moving average; about 890k"
        " samples of public MMPR.",
        re.compile(r"nemotron.*omni", re.I),
        others={"lr_end": 2e-9, "beta": 0.05, "delta_decay": 0.99, "loss_weights": {"dpo": 0.8, "bco": 0.2}},
    ),
}


def recipe_settings(name: str) -> dict[str, object]:
    """What a recipe sets. Raises ConfigError for an unknown name."""
    if name not in RECIPES:
        raise ConfigError(f"Unknown recipe {name!r}.", remedy=f"Use one of: {', '.join(RECIPES)}.")
    return {"lr": RECIPES[name].lr, **RECIPES[name].others}


def recipe_of(name: str, text_type: str | None) -> str | None:
    """The recipe of a model's generation, by its name, else by its language model; None where neither tells it."""
    by_name = (recipe for recipe, made in RECIPES.items() if made.names.search(name))
    by_text = (recipe for recipe, made in RECIPES.items() if text_type in made.texts)
    return next(by_name, None) or next(by_text, None)


def warning(lr: float, name: str, model_type: str, text_type: str | None) -> str | None:
    """What to say where a rate is far above what a model's own authors took; None where nothing is to be said.

    The default rate is the paper's, for InternVL2. Models since then come from longer training, on preferences among
    it, and were tuned with a fifth to a twenty-fifth of it.
    """
    known = recipe_of(name, text_type) if model_type == "internvl" else recipe_of(name, None)
    if known is None and model_type != "internvl":
        highest, who = RECIPES["internvl2.5"].lr, "newer models whose recipes are known"
        hint = "try --lr 1e-6 or 2e-7 first"
    elif known is None or known == "internvl2":
        return None
    else:
        highest, who = RECIPES[known].lr, f"this generation of models ({known})"
        hint = f"use --recipe {known}"
    if lr <= 2 * highest:
        return None
    return (
        f"Learning rate {lr:.0e} is far above what {who} took ({highest:.0e} or less): {hint}, and watch the"
        " held-out pairs. The default, 5e-6, is InternVL2's."
    )
