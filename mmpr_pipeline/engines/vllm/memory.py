"""What a model needs of a GPU's memory, from its config.json alone: weights, KV cache, rollouts that fit.

    weights = parameters * bytes / tensor parallel
    KV of a token = 2 * layers * KV heads * head size * bytes / tensor parallel, for each GPU
    tokens held = (share of the GPU - weights - activations) / KV of a token
    prompt = images * (tiles + a thumbnail) * tokens of a tile + text
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
from mmpr_pipeline.models.resolve import HubAwayError, resolve_model

ACTIVATIONS = 3e9
"""Bytes of an engine's GPU beside weights and KV cache: activations of a step of 8,192 tokens, CUDA graphs, the
encoder's cache. Assumed; `mmpr engine-check` shows the KV cache that a real engine found."""


TEXT_TOKENS = 108
"""Tokens of a prompt beside its images: with one image of six tiles and a thumbnail, 1,900 in all."""


@dataclass(frozen=True)
class Sizes:
    """A model's sizes. Bytes are of the whole model."""

    parameters: float
    weight_bytes: float
    layers: int
    kv_heads: int
    head_size: int
    kv_element: int
    """Bytes of a number in the KV cache."""
    context: int | None
    tile_tokens: int
    """Tokens that the language model sees of one tile."""

    @property
    def kv_bytes(self) -> int:
        """KV cache of one token: keys and values of each layer."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.kv_element

    def prompt(self, images: int, tiles: float) -> int:
        """Tokens of a prompt with `images` images, each cut into `tiles` tiles."""
        thumbnail = 1 if tiles > 1 else 0
        return round(images * (tiles + thumbnail) * self.tile_tokens) + TEXT_TOKENS


@dataclass(frozen=True)
class Fit:
    """What one engine holds."""

    kv_tokens: int
    """Tokens of KV cache; 0 where the weights do not fit."""
    rollouts: int
    """Rollouts of the mean length that it decodes at once, and computes few of them again."""


def sizes_of(config: dict[str, Any], kv_element: int | None = None) -> Sizes:
    """Sizes by the fields of a config.json, in the native or the original format of InternVL and models like it.

    `kv_element`: bytes of a number in the KV cache, where it is not the model's own type. Raises EngineError where
    the config lacks a field. Biases, norms and projectors are below 1% and left out; experts are counted with all
    their weights.
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
    # Patches of a tile, four of which InternVL makes into one token: 256 at 448 px.
    sides = [vision.get(name, usual) for name, usual in (("image_size", 448), ("patch_size", 14))]
    image, patch = (side[0] if isinstance(side, list) else side for side in sides)
    tile_tokens = int((image // patch * config.get("downsample_ratio", 0.5)) ** 2)
    each = 4 if "float32" in str(text.get("dtype") or text.get("torch_dtype") or config.get("dtype")) else 2
    return Sizes(
        parameters, parameters * each, layers, kv_heads, size, kv_element or each, text.get("max_position_embeddings"),
        tile_tokens,
    )  # fmt: skip


def fit_engine(sizes: Sizes, gpu_bytes: float, gpus: int, share: float, mean_response: float, prompt: float) -> Fit:
    """What an engine of `gpus` GPUs holds; `prompt` tokens are shared by about four rollouts of a question."""
    room = gpus * (gpu_bytes * share - ACTIVATIONS) - sizes.weight_bytes
    tokens = max(0, int(room / sizes.kv_bytes))
    return Fit(tokens, fitting(tokens, mean_response, prompt))


GPU_BYTES = 80e9
"""Memory of the GPU that a plan assumes: an H100 or A100 of 80 GB."""


@dataclass(frozen=True)
class PromptPlan:
    """What is assumed of the questions."""

    images: int = 1
    tiles: float = 6
    """Of an image, in the mean."""
    most_tiles: int = 6


def plan_lines(settings: EngineSettings, mean_response: float, longest: int, asked: PromptPlan) -> list[str]:
    """The memory of one engine, as `mmpr build --dry-run` prints it; `longest`: tokens of the longest response."""
    fp8 = str(settings.options.get("kv_cache_dtype", "")).startswith("fp8")
    try:
        model = resolve_model(settings.model, settings.revision)
        sizes = sizes_of(model.config, 1 if fp8 else None)
    except HubAwayError as error:
        return [
            f"Not known: the model's size, and so how much of a GPU's memory an engine needs and whether prompts fit. "
            f"{error.message}",
            f"To plan that too: `hf download {settings.model} config.json` (a few kB) where the Hub can be reached.",
        ]
    except EngineError as error:
        return [f"Memory of an engine: {error.message}"]
    gpus = settings.ranks
    share, prompt = settings.gpu_memory, sizes.prompt(asked.images, asked.tiles)
    found = fit_engine(sizes, GPU_BYTES, gpus, share, mean_response, prompt)
    gpu, weights, rest = GPU_BYTES / 1e9, sizes.weight_bytes / 1e9, ACTIVATIONS / 1e9
    cut = f"{asked.tiles:.0f} tiles and a thumbnail" if asked.tiles > 1 else "one tile"
    room = found.kv_tokens * sizes.kv_bytes / 1e9
    lines = [
        f"A prompt has about {prompt:,} tokens: {asked.images} image(s) of {cut}, "
        f"{sizes.tile_tokens} tokens each, and {TEXT_TOKENS} of text (assumed: give --images).",
        f"Memory of an engine on {gpus} GPU(s) of {gpu:.0f} GB (assumed): {gpus} x ({gpu:.0f} x {share:g} - {rest:.0f} "
        f"of activations) - {weights:,.0f} of weights = {room:,.0f} GB of KV cache; a token takes 2 x {sizes.layers} "
        f"layers x {sizes.kv_heads} heads x {sizes.head_size} x {sizes.kv_element} bytes = "
        f"{sizes.kv_bytes / 1e3:,.0f} kB: {found.kv_tokens:,} tokens.",
    ]
    if not found.kv_tokens:
        lines.append("Warning: the weights do not fit: raise --tensor-parallel.")
    elif found.rollouts < (settings.max_num_seqs or GPU_SEQUENCES):
        lines.append(
            f"That is about {found.rollouts:,} rollouts of {mean_response:,.0f} tokens at once, beside a quarter of a "
            "prompt each, to which the engine holds itself."
        )
    context = settings.max_model_len or model.context
    if context and (whole := sizes.prompt(asked.images, asked.most_tiles)) + longest > context:
        lines.append(
            f"Warning: a context of {context:,} tokens does not hold a prompt of {whole:,} (assumed) and a response of "
            f"{longest:,}: longer ones are cut off and make no pair. Raise engine.max_model_len, or lower "
            "--max-tokens or the tiles of the sources."
        )
    return lines
