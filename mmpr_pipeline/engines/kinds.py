"""The kinds of engines by name: the package's own, and those of distributions (entry points `mmpr.engines`)."""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.core.registry import Registry

ENGINES: Registry[Any] = Registry(
    "mmpr.engines",
    "engine",
    {
        "vllm": "mmpr_pipeline.engines.vllm.engine:KIND",
        "openai": "mmpr_pipeline.engines.openai.servers:KIND",
        "replay": "mmpr_pipeline.engines.recorded.replay:KIND",
        "scripted": "mmpr_pipeline.engines.scripted.engine:KIND",
    },
)
"""Each is a `registry.EngineKind`, or any callable from `EngineSettings` to an engine."""
