"""The model of a build: as named, as its output was begun, or by what the machine or cluster has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, MmprError, require
from mmpr_pipeline.dataset.files.sealed import read_config
from mmpr_pipeline.models.convert.first_use import first_use
from mmpr_pipeline.models.resolve import NANO, REHEARSAL_WARNING, ModelChoice, choose_model, local_gpus
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.sources.declaration.catalog import expand, find_declaration
from mmpr_pipeline.storage import MissingKeyError, open_store

FEW_RIGHT = 0.05
"""Share of right answers below which a build warns."""
FIRST_QUESTIONS = 100
"""Questions after which it looks."""


@dataclass(frozen=True)
class Chosen:
    """Settings with their model, and what the user must be told of it."""

    config: BuildConfig
    lines: tuple[str, ...] = ()
    """Which model, and why."""
    warnings: tuple[str, ...] = ()


def with_model(config: BuildConfig) -> Chosen:
    """The settings with a model, as `choose` gives them, and what the user must know of it."""
    chosen, line = choose(config)
    if chosen.rehearsal or not line:
        return Chosen(chosen, (line,) if line else ())
    named = "model" in config.engine.model_fields_set
    engine = chosen.engine
    said = None if engine.trust_remote_code else first_use(engine.model, engine.revision)
    lines = (line, *((said,) if said else ()))
    if not named or engine.model != NANO:
        return Chosen(chosen, lines)
    strange = [name for name in expand(chosen.sources) if find_declaration(name)[0].generated is None]
    if not strange:
        return Chosen(chosen, lines)
    names = ", ".join(strange[:3]) + (f" and {len(strange) - 3} more" if len(strange) > 3 else "")
    warning = f"{NANO} knows the nano_* sources only. What it says about {names} is noise, and so are the pairs."
    return Chosen(chosen, lines, (warning,))


def choose(config: BuildConfig) -> tuple[BuildConfig, str]:
    """The settings with a model, and which one in a sentence; that is empty where a build needs none or has it from
    elsewhere. Looks at GPUs (of the cluster, where `address` names one) only if no model is named.

    An output that was begun goes on with the model that it was begun with, whatever this machine has. Raises
    ConfigError where a rehearsal names another model than nano, or the packages of a build are not installed.
    """
    require("build")
    if config.preset or config.engine.name != "vllm":
        return config, ""
    if config.rehearsal and config.engine.model != NANO:
        raise ConfigError(
            f"A rehearsal uses {NANO}, not {config.engine.model}.", remedy="Leave `rehearsal` out, or the model."
        )
    if config.rehearsal:
        return config, REHEARSAL_WARNING
    if "model" in config.engine.model_fields_set:
        return config, f"Model: {config.engine.model}."
    choice = _begun(config) or _by_gpus(config)
    engine = config.engine.model_copy(update={"model": choice.model})
    return config.model_copy(update={"engine": engine, "rehearsal": choice.rehearsal}), choice.line


def _begun(config: BuildConfig) -> ModelChoice | None:
    found: Mapping[str, Any] = {}
    with suppress(MissingKeyError, MmprError):
        found = read_config(open_store(config.out)).get("config", {})
    engine = found.get("engine") or {}
    if engine.get("name") != "vllm" or not engine.get("model"):
        return None
    if found.get("rehearsal"):
        return ModelChoice(engine["model"], REHEARSAL_WARNING, rehearsal=True)
    return ModelChoice(engine["model"], f"Model: {engine['model']}, with which {config.out} was begun.")


def _by_gpus(config: BuildConfig) -> ModelChoice:
    if config.address == "local":
        return choose_model(local_gpus(), "this machine")
    import ray

    from mmpr_pipeline.cluster.session import ray_session

    with ray_session(config.address):
        gpus = int(ray.cluster_resources().get("GPU", 0))
    if not gpus and config.engine.node_wait_seconds:  # an autoscaler brings the nodes
        return choose_model(config.engine.tensor_parallel * (config.engine.actors or 1), "nodes that will be started")
    return choose_model(gpus, f"the cluster {config.address}")


class FewRight:
    """Watches the share of right answers, and warns once where a build is unlikely to be worth its time."""

    def __init__(self) -> None:
        self._done = False

    def warnings(self, tally: Mapping[str, int]) -> list[str]:
        """The warning, the first time that it is due."""
        right, checked = (
            sum(count for name, count in tally.items() if name.startswith("by/") and name.endswith(end))
            for end in ("/correct", "/checked")
        )
        if self._done or tally.get("questions", 0) < FIRST_QUESTIONS or not checked:
            return []
        self._done = True
        return few_right(right, checked)


def few_right(right: int, checked: int) -> list[str]:
    """A warning with the likely reasons where hardly any checked answer is right."""
    if not checked or right / checked >= FEW_RIGHT:
        return []
    return [
        f"Only {100 * right / checked:.1f}% of {checked:,} checked answers are right. Likely reasons: the model is too "
        "small for these questions, its answers do not follow the prompt's style (--style), or the declaration names "
        "the wrong answer column or kind (`mmpr sources check NAME`). Look at some in `mmpr view`."
    ]
