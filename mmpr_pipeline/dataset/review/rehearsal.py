"""Outputs that the embedded toy model made because no real one was there: who may pass them on or train on them."""

from __future__ import annotations

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.dataset.files.sealed import BuildDescription, read_config
from mmpr_pipeline.models.choice import INSTEAD
from mmpr_pipeline.storage import MissingKeyError, Store


def is_rehearsal(config: BuildDescription) -> bool:
    """Whether an output's config.json says that it is a rehearsal."""
    return bool((config.get("config") or {}).get("rehearsal"))


def refuse_rehearsal(store: Store, what: str, *, allowed: bool = False) -> None:
    """Raise ConfigError where an output is a rehearsal and `what` (`publish it`) was not allowed."""
    try:
        config = read_config(store)
    except (MissingKeyError, DatasetError):  # an output of which nothing is known; others say so
        return
    if is_rehearsal(config) and not allowed:
        raise ConfigError(
            f"{store.url} is a rehearsal: the embedded toy model made its pairs.",
            remedy=f"Build with a real model first. {INSTEAD} Or {what} nevertheless with --allow-rehearsal.",
        )
