"""Outputs that the embedded toy model made because no real one was there: who may pass them on or train on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.sealed import read_sealed
from mmpr_pipeline.models.choice import INSTEAD
from mmpr_pipeline.storage import MissingKeyError, Store


def is_rehearsal(config: Mapping[str, Any]) -> bool:
    """Whether an output's config.json says that it is a rehearsal."""
    return bool((config.get("config") or {}).get("rehearsal"))


def refuse_rehearsal(store: Store, what: str, *, allowed: bool = False) -> None:
    """Raise ConfigError where an output is a rehearsal and `what` (`publish it`) was not allowed."""
    try:
        config = read_sealed(store, layout.CONFIG)
    except (MissingKeyError, DatasetError):  # an output of which nothing is known; others say so
        return
    if is_rehearsal(config) and not allowed:
        raise ConfigError(
            f"{store.url} is a rehearsal: the embedded toy model made its pairs.",
            remedy=f"Build with a real model first. {INSTEAD} Or {what} nevertheless with --allow-rehearsal.",
        )
