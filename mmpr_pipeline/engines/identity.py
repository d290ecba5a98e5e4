"""What of an engine decides its rollouts; part of a dataset's identity."""

from __future__ import annotations

from mmpr_pipeline.engines.kinds import ENGINES
from mmpr_pipeline.engines.registry import engine_kind
from mmpr_pipeline.engines.settings import EngineSettings


def engine_identity(settings: EngineSettings) -> dict[str, object]:
    """Name and settings of the engine, with paths replaced by the content behind them. Starts nothing.

    An engine of another distribution carries that distribution's name and version. Raises EngineError or ConfigError
    where the model or the recorded rollouts cannot be found.
    """
    identity = engine_kind(settings).identity(settings)
    origin = ENGINES.origins([settings.name]).get(settings.name)
    return {**identity, "origin": origin} if origin else identity
