"""From settings to an engine: what a kind of engine says of itself, what decides its rollouts, and making one here.

A third party adds an engine by an entry point of its distribution, and users name it as `--engine mine`:

    [project.entry-points."mmpr.engines"]
    mine = "my_package:MyEngine"

`MyEngine(settings)` gives an `engine.Engine`; its attributes `can_continue` and `default_actors` are looked at before
one is made. For finer control the entry point names an `EngineKind`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmpr_pipeline.core.errors import ConfigError, EngineError, MmprError
from mmpr_pipeline.engines.engine import Engine, EngineInfo
from mmpr_pipeline.engines.settings import ENGINES, EngineSettings


@dataclass(frozen=True)
class EngineKind:
    """How engines of one name are made, and what of their settings decides the rollouts."""

    make: Callable[[EngineSettings], Engine]
    """Start an engine in this process; raises EngineError or ConfigError."""
    identity: Callable[[EngineSettings], dict[str, object]]
    """What decides the rollouts, with paths replaced by the content behind them. Starts nothing."""
    describe: Callable[[EngineSettings], EngineInfo] | None = None
    """What an engine would say of itself, without loading a model; raises what would keep it from starting. None where
    making one is cheap."""
    default_actors: int = 0
    """Engine actors if the settings name none; 0 runs the engine in the workers."""
    on_gpu: bool = False
    """Whether an actor reserves `tensor_parallel` GPUs where the cluster has some."""


def engine_kind(settings: EngineSettings) -> EngineKind:
    """The kind of these settings; raises ConfigError where it is not installed or cannot be imported."""
    found = ENGINES.get(settings.name)
    if isinstance(found, EngineKind):
        return found
    if not callable(found):
        raise ConfigError(
            f"The engine {settings.name!r} is neither an EngineKind nor callable.",
            remedy="Let its entry point name a class or function that takes EngineSettings.",
        )
    continues = bool(getattr(found, "can_continue", False))

    def describe(settings: EngineSettings) -> EngineInfo:
        return EngineInfo(engine=settings.name, model=settings.model, context=None, can_continue=continues)

    actors = int(getattr(found, "default_actors", 0))
    return EngineKind(make=found, identity=_all_settings, describe=describe, default_actors=actors)


def make_engine(settings: EngineSettings) -> Engine:
    """The engine of these settings in this process; raises EngineError or ConfigError with the remedy."""
    make = engine_kind(settings).make
    try:
        return make(settings)
    except MmprError:
        raise
    except Exception as error:  # whatever a third party's engine raises
        raise EngineError(
            f"The {settings.name} engine cannot start: {type(error).__name__}: {str(error)[:600]}",
            remedy="Read its message; if the engine comes from another distribution, ask its authors.",
        ) from error


def _all_settings(settings: EngineSettings) -> dict[str, object]:
    """For engines that do not say what decides their rollouts: whatever they may read of it."""
    read = {"model", "revision", "dtype", "max_model_len", "rollouts", "script", "options"}
    return {"name": settings.name, **settings.model_dump(mode="json", include=read, exclude_defaults=True)}


def engine_identity(settings: EngineSettings) -> dict[str, object]:
    """Name and settings of the engine, with paths replaced by the content behind them. Starts nothing.

    An engine of another distribution carries that distribution's name and version. Raises EngineError or ConfigError
    where the model or the recorded rollouts cannot be found.
    """
    identity = engine_kind(settings).identity(settings)
    origin = ENGINES.origins([settings.name]).get(settings.name)
    return {**identity, "origin": origin} if origin else identity
