"""A run's directory: claimed by one configuration, resumed only by the same one.

RUN/run.json         resolved settings, what model and data they meant, versions, on what it is computed; written first
RUN/metrics.jsonl    one line a step            RUN/rejects.jsonl   pairs that were left out, with reasons
RUN/checkpoints/     see `checkpoints`          RUN/summary.json    totals; written last, not there while a run is on
"""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict, cast

import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import sealed, unsealed
from mmpr_pipeline.core.registry import plugins_of
from mmpr_pipeline.core.settings import differences, identity_of
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.storage import Store, open_store
from mmpr_pipeline.training.checkpoints import CheckpointPlace, step_name
from mmpr_pipeline.training.objective.loss import LOSSES
from mmpr_pipeline.training.policy.families.family import FAMILIES
from mmpr_pipeline.training.policy.load import ModelFolder
from mmpr_pipeline.training.policy.recompute import Checkpointing
from mmpr_pipeline.training.settings import TrainConfig

RUN_FILE, SUMMARY = "run.json", "summary.json"


class Computed(TypedDict, total=False):
    """By what device, type and kernel, and in what portions a run computes."""

    device: str
    ranks: int
    dtype: str
    attention: str
    layers: str
    recompute: Checkpointing
    recompute_vision: Checkpointing
    token_budget: int


class RunDescription(TypedDict):
    """run.json."""

    identity: dict[str, object]
    config: dict[str, object]
    versions: dict[str, str]
    computed: NotRequired[Computed]


def identity(config: TrainConfig, model: ModelFolder, data: str) -> dict[str, object]:
    """What makes a run this run: settings that decide its losses, the model's label, the dataset's identity.

    Losses and a model family of another distribution stand in it with their version.
    """
    families = FAMILIES.origins([model.kind]) if model.kind in FAMILIES.names() else {}
    plugins = plugins_of(losses=LOSSES.origins(config.weights()), families=families)
    return {**identity_of(config), "model": model.label, "data": data, **plugins}


_NAMES = frozenset(("identity", "config", "versions"))


def _before(store: Store) -> RunDescription:
    try:
        return cast(RunDescription, unsealed(store.read(RUN_FILE), _NAMES, frozenset()))
    except ValueError as error:
        raise ConfigError(
            f"{store.url}/{RUN_FILE} is damaged: {error}.",
            remedy="Restore it from a copy. Or, if you are sure that the settings are unchanged, delete it; "
            "then --resume.",
        ) from None


def claim_run(
    run: Path, place: CheckpointPlace, config: TrainConfig, model: ModelFolder, data: str, resume: bool
) -> tuple[int | None, Computed]:
    """Take a run's directory; gives the checkpoint to go on from, None for a start at step 0, and how the run computed
    so far.

    Raises ConfigError where the directory holds a run and `resume` is off, or a run with other settings.
    """
    now = identity(config, model, data)
    store = open_store(run)
    store.check_writable()
    there = place.steps()
    computed: Computed = {}
    if there and not resume:
        raise ConfigError(
            f"{run} already holds a run, kept at {step_name(there[-1])}.",
            remedy="Go on with --resume, or give another --out.",
        )
    if there and store.exists(RUN_FILE):
        before = _before(store)
        computed = before.get("computed", {})
        if lines := differences(before["identity"], now):
            raise ConfigError(
                f"{run} was begun with other settings:\n    " + "\n    ".join(lines),
                remedy="Use the same settings to go on, or another --out for a new run.",
            )
    place.sweep()
    store.delete(SUMMARY)
    import transformers

    versions = {"mmpr": __version__, "torch": torch.__version__, "transformers": transformers.__version__}
    described: RunDescription = {"identity": now, "config": config.model_dump(mode="json"), "versions": versions}
    if computed:
        described["computed"] = computed
    store.write(RUN_FILE, sealed(described))
    return there[-1] if there else None, computed


def note(run: Path, computed: Computed) -> None:
    """Write into RUN/run.json how the run computes."""
    store = open_store(run)
    store.write(RUN_FILE, sealed({**_before(store), "computed": computed}))
