"""Settings of an engine: which engines there are by name, and which of vLLM's arguments decide what is sampled.

`engine.options` passes any argument of vLLM through under vLLM's own name. Those of `OPERATIONAL_OPTIONS` change speed
and memory alone; every other one may change the rollouts, so it is part of a dataset's identity and of the model's
label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.core.settings import MODEL, OPERATIONAL, RUN, Settings, flag
from mmpr_pipeline.models.messages import MAX_TILES, MOST_TILES
from mmpr_pipeline.models.resolve import DEFAULT_TEXT, NANO

OPERATIONAL_OPTIONS = frozenset(
    {
        "async_scheduling", "block_size", "compilation_config", "cpu_offload_gb", "cudagraph_capture_sizes",
        "disable_custom_all_reduce", "disable_log_stats", "distributed_executor_backend", "download_dir",
        "enable_chunked_prefill", "enable_log_requests", "enable_prefix_caching", "enforce_eager",
        "gpu_memory_utilization", "ignore_patterns", "kv_cache_memory_bytes", "kv_offloading_backend",
        "kv_offloading_size", "long_prefill_token_threshold", "max_cudagraph_capture_size", "max_long_partial_prefills",
        "max_num_batched_tokens", "max_num_partial_prefills", "max_num_seqs", "max_parallel_loading_workers",
        "mm_encoder_attn_backend", "mm_encoder_tp_mode", "mm_processor_cache_gb", "mm_processor_cache_type",
        "num_gpu_blocks_override", "pipeline_parallel_size", "safetensors_load_strategy", "scheduling_policy",
        "skip_mm_profiling", "stream_interval", "use_tqdm_on_load",
    }
)  # fmt: skip

_OWN_SETTING = {
    "model": "engine.model",
    "revision": "engine.revision",
    "dtype": "engine.dtype",
    "max_model_len": "engine.max_model_len",
    "trust_remote_code": "engine.trust_remote_code",
    "tensor_parallel_size": "engine.tensor_parallel",
}
_REFUSED = {
    **{name: f"set {setting} instead" for name, setting in _OWN_SETTING.items()},
    "seed": "every request has a seed of its own; set `seed` of the build",
    "served_model_name": "the label of a model says which one it is",
}


def refused_options(options: Mapping[str, Any]) -> list[str]:
    """One line for each option that may not be set here, with what to do instead."""
    return [f"{name}: {_REFUSED[name]}" for name in sorted(options) if name in _REFUSED]


def deciding_options(options: Mapping[str, Any]) -> dict[str, object]:
    """The options that may change what is sampled."""
    return {name: value for name, value in sorted(options.items()) if name not in OPERATIONAL_OPTIONS}


def label_suffix(options: Mapping[str, Any]) -> str:
    """What the label of a model gets for them: `+quantization.kv_cache_dtype-1a2b3c4d`, or nothing."""
    deciding = deciding_options(options)
    if not deciding:
        return ""
    digest = content_id(json.dumps(deciding, sort_keys=True, default=str))[:8]
    return f"+{'.'.join(deciding)[:60]}-{digest}"


ENGINES: Registry[Any] = Registry(
    "mmpr.engines",
    "engine",
    {
        "vllm": "mmpr_pipeline.engines.vllm.engine:KIND",
        "openai": "mmpr_pipeline.engines.openai.servers:KIND",
        "replay": "mmpr_pipeline.engines.recorded:KIND",
        "scripted": "mmpr_pipeline.engines.scripted.engine:KIND",
    },
)
"""Each is a `registry.EngineKind`, or any callable from `EngineSettings` to an engine."""


class EngineSettings(Settings):
    """Which engine samples, and what it may use."""

    name: Annotated[str, AfterValidator(ENGINES.require)] = Field(
        default="vllm",
        description="The engine: vllm, openai, replay, scripted, or one of an installed distribution.",
        json_schema_extra=flag("--engine", MODEL),
    )
    model: str = Field(
        default=NANO,
        description="Hub id or directory; `nano` is the embedded one, which knows the nano_* sources only.",
        json_schema_extra=flag("--model", MODEL, default=DEFAULT_TEXT),
    )
    revision: str | None = Field(
        default=None,
        description="Revision of a Hub model.",
        json_schema_extra=flag("--revision", MODEL, default="the newest"),
    )
    dtype: str = Field(default="auto", description="Weights' type: auto, float32, bfloat16 or float16.")
    most_tiles: int = Field(
        default=MAX_TILES,
        ge=1,
        le=MOST_TILES,
        description="Most tiles of an image that memory is planned for; builds and evaluations raise it to what their "
        "sources ask for.",
        json_schema_extra=OPERATIONAL,
    )
    max_model_len: int | None = Field(default=None, description="Context in tokens; the model's own if not given.")
    trust_remote_code: bool = Field(
        default=False,
        description="Let code that comes with the model run on this machine.",
        json_schema_extra=flag("--trust-remote-code", MODEL),
    )
    base_url: str | None = Field(
        default=None,
        description="For openai: address of the server, as http://host:8000/v1, or of several, by commas. The key is "
        "$OPENAI_API_KEY only.",
        json_schema_extra=flag("--base-url", MODEL, operational=True),
    )
    rollouts: str | None = Field(
        default=None,
        description="For replay: JSONL file of recorded rollouts.",
        json_schema_extra=flag("--rollouts", MODEL),
    )
    script: dict[str, object] = Field(default_factory=dict, description="For scripted: what the fake engine does.")
    actors: int | None = Field(
        default=None,
        ge=0,
        description="Engine actors; 0 runs the engine in the workers.",
        json_schema_extra=flag("--actors", RUN, default="1 for vllm, 0 for others", operational=True),
    )
    tensor_parallel: int = Field(
        default=1,
        ge=1,
        description="GPUs that share one engine.",
        json_schema_extra=flag("--tensor-parallel", RUN, operational=True),
    )
    gpu_memory: float = Field(
        default=0.9, gt=0, le=1, description="Share of GPU memory an engine may use.", json_schema_extra=OPERATIONAL
    )
    kv_cache_gib: float = Field(
        default=1.0, gt=0, description="KV cache of a CPU engine, GiB.", json_schema_extra=OPERATIONAL
    )
    max_num_seqs: int | None = Field(
        default=None,
        ge=1,
        description="Rollouts that an engine decodes at once. If not given: 512 on a GPU, fewer where long responses "
        "would not fit its KV cache; 256 on a CPU and of an openai server.",
        json_schema_extra=OPERATIONAL,
    )
    reproducible: bool = Field(
        default=False,
        description="For vllm on GPUs: use batch-invariant kernels, so that the same build gives the same texts on the "
        "same GPUs and versions. Slower. Expected to work, not yet seen on a GPU.",
    )
    gpu: str | None = Field(
        default=None,
        description="For engine.reproducible: the type of GPU, as `H100`; engines on another one refuse to start.",
    )
    load_seconds: float = Field(
        default=7200,
        gt=0,
        description="Seconds that the loading of a model may take, its download included, before its engine is started "
        "again.",
        json_schema_extra=OPERATIONAL,
    )
    node_wait_seconds: float = Field(
        default=0,
        ge=0,
        description="Seconds to wait for a node with enough GPUs where the cluster has none: for clusters that an "
        "autoscaler enlarges, also from zero.",
        json_schema_extra=OPERATIONAL,
    )
    stall_seconds: float = Field(
        default=600,
        gt=0,
        description="Seconds without progress, with requests in flight, after which an engine is restarted.",
        json_schema_extra=OPERATIONAL,
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further vLLM engine arguments, as vLLM names them. Those that only change speed or memory may "
        "change from run to run; any other is part of the output's identity and of the model's label.",
        json_schema_extra=OPERATIONAL,
    )

    @field_validator("options")
    @classmethod
    def _name_no_model(cls, options: dict[str, Any], others: ValidationInfo) -> dict[str, Any]:
        if others.data.get("name") == "vllm" and (lines := refused_options(options)):
            raise ValueError(f"they cannot set {'; '.join(lines)}")
        return options

    @field_validator("base_url")
    @classmethod
    def _hold_no_secret(cls, urls: str | None) -> str | None:
        """The addresses without a slash at their ends. They are saved with the output: no password or key in them."""
        return urls and ",".join(_checked_address(url.strip()) for url in urls.split(","))

    @property
    def stages(self) -> int:
        """Pipeline stages of an engine: each has a part of the model's layers."""
        return int(self.options.get("pipeline_parallel_size", 1))

    @property
    def ranks(self) -> int:
        """Processes that run an engine's model, each on a GPU of its own."""
        return self.tensor_parallel * self.stages

    @property
    def base_urls(self) -> list[str]:
        """The addresses one by one."""
        return self.base_url.split(",") if self.base_url else []


def _checked_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an address such as http://host:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("no user, password or ?query in it: it is saved with the output; set OPENAI_API_KEY")
    return url.rstrip("/")
