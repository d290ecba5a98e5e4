"""Settings of an engine."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from mmpr_pipeline.core.settings import OPERATIONAL, Settings
from mmpr_pipeline.models.resolve import NANO


class EngineSettings(Settings):
    """Which engine samples, and what it may use."""

    name: Literal["vllm", "openai", "replay", "scripted"] = Field(default="vllm", description="The engine.")
    model: str = Field(default=NANO, description="Hub id or directory of the model; `nano` is the embedded one.")
    revision: str | None = Field(default=None, description="Revision of a Hub model; the newest if not given.")
    dtype: str = Field(default="auto", description="Weights' type: auto, float32, bfloat16 or float16.")
    max_model_len: int | None = Field(default=None, description="Context in tokens; the model's own if not given.")
    trust_remote_code: bool = Field(default=False, description="Allow code shipped with the model to run.")
    base_url: str | None = Field(
        default=None,
        description="For openai: address of the server, as http://host:8000/v1. The key is $OPENAI_API_KEY only.",
        json_schema_extra=OPERATIONAL,
    )
    rollouts: str | None = Field(default=None, description="For replay: JSONL file of recorded rollouts.")
    script: dict[str, Any] = Field(default_factory=dict, description="For scripted: what the fake engine does.")
    actors: int | None = Field(
        default=None,
        ge=0,
        description="Engine actors; 0 runs the engine in the workers.",
        json_schema_extra=OPERATIONAL,
    )
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs for each engine.", json_schema_extra=OPERATIONAL)
    gpu_memory: float = Field(
        default=0.9, gt=0, le=1, description="Share of GPU memory an engine may use.", json_schema_extra=OPERATIONAL
    )
    kv_cache_gib: float = Field(
        default=1.0, gt=0, description="KV cache of a CPU engine, GiB.", json_schema_extra=OPERATIONAL
    )
    max_num_seqs: int = Field(
        default=256, ge=1, description="Sequences an engine decodes at once.", json_schema_extra=OPERATIONAL
    )
    stall_seconds: float = Field(
        default=600,
        gt=0,
        description="Seconds without progress, with requests in flight, after which an engine is started anew.",
        json_schema_extra=OPERATIONAL,
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further vLLM engine arguments, as vLLM names them.",
        json_schema_extra=OPERATIONAL,
    )

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        """The address without a slash at its end. It is saved with the output, so it must hold no password or key."""
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an address such as http://host:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("no user, password or ?query in it: it is saved with the output; set OPENAI_API_KEY")
        return url.rstrip("/")
