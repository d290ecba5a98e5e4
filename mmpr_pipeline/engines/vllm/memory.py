"""What a model needs of a GPU's memory, from its config.json alone: weights, KV cache, rollouts that fit.

    weights = parameters * bytes / tensor parallel
    KV of a token = 2 * layers * KV heads * head size * bytes / tensor parallel, for each GPU
    tokens held = (share of the GPU - weights - activations) / KV of a token
    rollouts = tokens held / mean response * 1.2, beside the prompts, which the rollouts of a question share

The last line is `admission.fitting`, to which a running engine holds itself as it learns how long its responses are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm.admission import fitting
from mmpr_pipeline.engines.vllm.load import GPU_SEQUENCES
from mmpr_pipeline.models.resolve import resolve_model

ACTIVATIONS = 3e9
"""Bytes of an engine's GPU beside weights and KV cache: activations of a step of 8,192 tokens, CUDA graphs, the
encoder's cache. Assumed; `mmpr engine-check` shows the KV cache that a real engine found."""


@dataclass(frozen=True)
class Sizes:
    """A model's sizes. Bytes are of the whole model."""

    parameters: float
    weight_bytes: float
    kv_bytes: int
    """Of one token."""
    context: int | None


@dataclass(frozen=True)
class Fit:
    """What one engine holds."""

    kv_tokens: int
    """Tokens of KV cache; 0 where the weights do not fit."""
    rollouts: int
    """Rollouts of the mean length that it decodes at once, and computes few of them again."""


def sizes_of(config: dict[str, Any]) -> Sizes:
    """Sizes by the fields of a config.json, in the native or the original format of InternVL and models like it.

    Raises EngineError where it lacks a field. Biases, norms and projectors are below 1% and left out; experts are
    counted with all their weights.
    """
    text = config.get("text_config") or config.get("llm_config") or config
    vision = config.get("vision_config") or {}
    try:
        hidden, layers, heads = text["hidden_size"], text["num_hidden_layers"], text["num_attention_heads"]
        inner, vocabulary = text["intermediate_size"], text["vocab_size"]
    except KeyError as error:
        raise EngineError(
            f"The model's config.json does not name its {error.args[0]}: its memory cannot be planned.",
            remedy="Start it, and read the KV cache in `mmpr engine-check`.",
        ) from None
    kv_heads = text.get("num_key_value_heads") or heads
    size = text.get("head_dim") or hidden // heads
    attention = hidden * size * (2 * heads + 2 * kv_heads)
    experts = text.get("num_experts") or text.get("num_local_experts") or 1
    mlp = 3 * hidden * (text.get("moe_intermediate_size") or inner) * experts if experts > 1 else 3 * hidden * inner
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    parameters = layers * (attention + mlp) + vocabulary * hidden * (1 if tied else 2)
    if vision.get("hidden_size"):
        wide = vision["hidden_size"]
        block = 4 * wide**2 + 2 * wide * vision.get("intermediate_size", 4 * wide)
        parameters += vision.get("num_hidden_layers", 0) * block
    each = 4 if "float32" in str(text.get("dtype") or text.get("torch_dtype") or config.get("dtype")) else 2
    return Sizes(
        parameters, parameters * each, 2 * layers * kv_heads * size * each, text.get("max_position_embeddings")
    )


def fit_engine(sizes: Sizes, gpu_bytes: float, gpus: int, share: float, mean_response: float, prompt: float) -> Fit:
    """What an engine of `gpus` GPUs holds; `prompt` tokens are shared by about four rollouts of a question."""
    room = gpus * (gpu_bytes * share - ACTIVATIONS) - sizes.weight_bytes
    tokens = max(0, int(room / sizes.kv_bytes))
    return Fit(tokens, fitting(tokens, mean_response, prompt))


GPU_BYTES = 80e9
"""Memory of the GPU that a plan assumes: an H100 or A100 of 80 GB."""


def plan_lines(settings: EngineSettings, mean_response: float, prompt: float) -> list[str]:
    """The memory of one engine, as `mmpr build --dry-run` prints it."""
    try:
        sizes = sizes_of(resolve_model(settings.model, settings.revision).config)
    except EngineError as error:
        return [f"Memory of an engine: {error.message}"]
    gpus = settings.tensor_parallel * int(settings.options.get("pipeline_parallel_size", 1))
    share = settings.gpu_memory
    found = fit_engine(sizes, GPU_BYTES, gpus, share, mean_response, prompt)
    weights, each = sizes.weight_bytes / 1e9, sizes.kv_bytes / 1e3
    lines = [
        f"Memory of an engine on {gpus} GPU(s) of {GPU_BYTES / 1e9:.0f} GB (assumed): {share:g} of it less "
        f"{weights:,.0f} GB of weights and {ACTIVATIONS / 1e9:.0f} GB a GPU of activations, at {each:,.0f} kB a token, "
        f"holds {found.kv_tokens:,} tokens of KV cache."
    ]
    if not found.kv_tokens:
        lines.append("Warning: the weights do not fit: raise --tensor-parallel.")
    elif found.rollouts < (settings.max_num_seqs or GPU_SEQUENCES):
        lines.append(
            f"That is about {found.rollouts:,} rollouts of {mean_response:,.0f} tokens at once, to which the engine "
            "holds itself."
        )
    return lines
