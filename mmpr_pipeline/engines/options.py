"""Which of vLLM's engine arguments decide what is sampled, and which only how fast it is.

`engine.options` passes any argument through under vLLM's own name. Those on the list below change speed and memory
alone; every other one may change the rollouts, so it is part of a dataset's identity and of the model's label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmpr_pipeline.core.records import content_id

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
