"""The pairing strategies by name."""

from __future__ import annotations

from collections.abc import Iterable

from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.pairing.strategy import Strategy

STRATEGIES: Registry[type[Strategy]] = Registry(
    "mmpr.strategies",
    "pairing strategy",
    {
        "blind": "mmpr_pipeline.pairing.beside.blind:BlindFilter",
        "correctness": "mmpr_pipeline.pairing.correctness:Correctness",
        "dropout_ntp": "mmpr_pipeline.pairing.dropout_ntp:DropoutNTP",
        "dropout_preset": "mmpr_pipeline.pairing.dropout_preset:DropoutPreset",
        "feedback": "mmpr_pipeline.pairing.feedback:Feedback",
        "format": "mmpr_pipeline.pairing.beside.format:FormatPairs",
        "preset": "mmpr_pipeline.pairing.preset:Preset",
        "step": "mmpr_pipeline.pairing.beside.step:Steps",
        "vote": "mmpr_pipeline.pairing.vote:Vote",
    },
)


def make_strategies(names: Iterable[str]) -> tuple[Strategy, ...]:
    """One strategy of each name, in order. Raises ConfigError where there is none of that name."""
    return tuple(STRATEGIES.get(name)() for name in names)
