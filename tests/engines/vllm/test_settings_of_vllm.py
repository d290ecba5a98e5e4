"""What vLLM is asked for on each device, and what its ends of a response mean; without vLLM."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.engines.engine import least_room
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm import load
from mmpr_pipeline.engines.vllm.engine import _response
from mmpr_pipeline.models.resolve import ModelRef

MODEL = ModelRef("m", "c0ffee", "m@c0ffee", {"architectures": ["InternVLForConditionalGeneration"]})


def arguments(cpu: bool, **settings: Any) -> dict[str, Any]:
    return load.engine_arguments(EngineSettings(**settings), MODEL, cpu=cpu)


def test_an_engine_on_a_gpu_gets_our_defaults_and_nothing_that_is_for_cpus() -> None:
    assert arguments(False) == {
        "model": "m",
        "revision": "c0ffee",
        "dtype": "auto",
        "max_model_len": None,
        "trust_remote_code": False,
        "max_num_seqs": 512,
        "max_num_batched_tokens": 8192,
        "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 1,
        "seed": 0,
        "disable_log_stats": True,
        "scheduling_policy": "priority",
        "generation_config": "auto",
        "mm_processor_kwargs": {"crop_to_patches": True, "min_patches": 1, "max_patches": 12},
    }


def test_memory_is_planned_for_the_tiles_that_sources_ask_for() -> None:
    planned = arguments(False, most_tiles=24)["mm_processor_kwargs"]
    assert planned == {"crop_to_patches": True, "min_patches": 1, "max_patches": 24}


def test_settings_and_options_win_over_the_defaults() -> None:
    asked = arguments(False, max_num_seqs=64, tensor_parallel=4, options={"max_num_batched_tokens": 16384})
    assert (asked["max_num_seqs"], asked["max_num_batched_tokens"]) == (64, 16384)
    assert (asked["tensor_parallel_size"], asked["distributed_executor_backend"]) == (4, "mp")
    assert arguments(False, options={"pipeline_parallel_size": 2})["distributed_executor_backend"] == "mp"
    assert arguments(True)["max_num_seqs"] == 256


def test_stages_on_the_cpu_are_warmed_up_without_a_compiler() -> None:
    """vLLM's CPU workers warm up, and make the buffer between two stages, only where something is compiled."""
    assert arguments(True)["enforce_eager"] is True
    staged = arguments(True, options={"pipeline_parallel_size": 2})
    assert not staged.get("enforce_eager")
    assert staged["compilation_config"]["backend"] == "eager"
    assert "compilation_config" not in arguments(False, options={"pipeline_parallel_size": 2})


def test_the_sampler_that_would_be_compiled_at_every_start_is_off() -> None:
    """vLLM warms up with requests without a seed, for which it would compile FlashInfer's sampler by nvcc."""
    assert load._ENVIRONMENT["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def completion(finish: str) -> Any:
    return SimpleNamespace(token_ids=[5, 6, 7], finish_reason=finish)


def test_only_ends_of_a_response_make_a_rollout() -> None:
    assert _response(completion("stop")) == ([5, 6], "stop")
    assert _response(completion("length")) == ([5, 6, 7], "length")
    with pytest.raises(EngineError, match="gave a request up"):
        _response(completion("abort"))
    with pytest.raises(ItemRejected, match="engine_error"):
        _response(completion("error"))


def test_a_reproducible_engine_refuses_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    load._check_gpu(EngineSettings(gpu="h100"), "NVIDIA H100 80GB HBM3")
    with pytest.raises(EngineError, match="H200"):
        load._check_gpu(EngineSettings(gpu="H100"), "NVIDIA H200")
    with pytest.raises(EngineError, match="None"):
        load._check_gpu(EngineSettings(), "NVIDIA H200")
    assert "VLLM_BATCH_INVARIANT" not in os.environ


@pytest.mark.parametrize(
    ("max_tokens", "context", "least"), [(2048, 32768, 512), (32768, 8192, 2048), (2, 4096, 1), (2048, None, 512)]
)
def test_a_prompt_must_leave_a_quarter_of_what_may_be_asked_for(
    max_tokens: int, context: int | None, least: int
) -> None:
    assert least_room(max_tokens, context) == least
