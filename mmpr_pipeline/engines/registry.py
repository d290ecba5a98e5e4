"""From the name of an engine to the engine."""

from __future__ import annotations

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.engines.settings import EngineSettings


def make_engine(settings: EngineSettings) -> Engine:
    """The engine of these settings in this process; raises EngineError or ConfigError with the remedy."""
    if settings.name == "scripted":
        from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script

        return ScriptedEngine(parse_script(settings.script))
    if settings.name == "replay":
        from mmpr_pipeline.engines.recorded.replay import ReplayEngine

        if not settings.rollouts:
            raise ConfigError("The replay engine has no recorded rollouts.", remedy="Give --rollouts FILE.")
        return ReplayEngine(settings.rollouts)
    if settings.name == "openai":
        from mmpr_pipeline.engines.openai.engine import OpenAiEngine

        return OpenAiEngine(settings)
    from mmpr_pipeline.engines.vllm.engine import VllmEngine

    return VllmEngine(settings)
