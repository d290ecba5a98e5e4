"""What of an engine decides its rollouts; part of a dataset's identity."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.models.resolve import resolve_model

_FAULTS = ("latency", "kill_after", "kill_marker", "hang_once", "log")
_SAMPLED_BYTES = 2**20


def engine_identity(settings: EngineSettings) -> dict[str, Any]:
    """Name and settings of the engine, with paths replaced by the content behind them. Starts nothing.

    Raises EngineError or ConfigError where the model or the recorded rollouts cannot be found.
    """
    if settings.name == "scripted":
        return {"name": "scripted", "script": {k: v for k, v in settings.script.items() if k not in _FAULTS}}
    if settings.name == "replay":
        return {"name": "replay", "rollouts": _file_digest(settings.rollouts or "")}
    if settings.name == "openai":  # which server answers changes nothing: any that serves the model will do
        return {"name": "openai", "model": settings.model, "revision": settings.revision}
    return {
        "name": settings.name,
        "model": resolve_model(settings.model, settings.revision).label,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
    }


def _file_digest(path: str) -> str:
    """Digest of a file's size, beginning and end: recorded rollouts can be too large to be read twice."""
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            digest = hashlib.sha256(f"{size}:".encode() + file.read(_SAMPLED_BYTES))
            file.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(file.read(_SAMPLED_BYTES))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the recorded rollouts {path}: {error.strerror}.", remedy="Give --rollouts a readable file."
        ) from None
    return digest.hexdigest()[:32]
