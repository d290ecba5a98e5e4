"""How much memory a training step will need, from shapes alone: before the first step, not by an out-of-memory.

Counted are the tensors that autograd keeps in transformers' implementations, layer by layer; the tests hold the
activations to what a real forward keeps. Fragmentation and libraries' workspaces come on top: leave a tenth free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.policy.families.experts import experts_of

if TYPE_CHECKING:
    from mmpr_pipeline.training.policy.recompute import Checkpointing

GIB = 1 << 30
FP32 = 4


@dataclass(frozen=True)
class StackShape:
    """A stack of transformer layers: widths in elements. `kv` is the width of keys (and of values)."""

    layers: int
    hidden: int
    mlp: int
    query: int
    kv: int
    gated: bool


@dataclass(frozen=True)
class ModelShape:
    """A vision-language model as far as memory goes; parameters by part, tokens of the vision tower by tile."""

    text: StackShape
    vision: StackShape
    vocabulary: int
    tile_tokens: int
    parameters: Mapping[str, int]  # text, vision, projector, head (embeddings and output layer)
    idle_experts: int = 0  # of `text`: parameters of experts that a token does not take
    patch_values: int = 588  # of an image that become one token of the vision tower


@dataclass(frozen=True)
class StepShape:
    """One micro-batch, and how it is computed.

    `tokens` are computed, `scored` predicted, `keys` gathered for attention (all paths end to end, as in
    `SharedLayout`), `tiles` encoded. `ranks` share weights, gradients and optimizer state (fully sharded).
    """

    tokens: int
    scored: int
    keys: int
    tiles: int
    bytes_per_value: int = 2
    master_bytes: int = 4
    ranks: int = 1
    checkpointing: Checkpointing = "full"
    trained: tuple[str, ...] = ("text", "vision", "projector", "head")
    second_model: bool = False
    chunk_bytes: int = 512 << 20


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device at the peak of a step, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    text_activations: int
    vision_activations: int
    head: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(int(getattr(self, field.name)) for field in fields(self))

    def lines(self) -> list[str]:
        """The table, one part a line, in GiB."""
        rows = [(field.name.replace("_", " "), getattr(self, field.name)) for field in fields(self)]
        return [f"{name:20} {size / GIB:8.2f} GiB" for name, size in [*rows, ("total", self.total)]]


def estimate_memory(model: ModelShape, step: StepShape) -> MemoryEstimate:
    """Peak memory of one optimizer step with AdamW. Pure."""
    everything = sum(model.parameters.values())
    trained = sum(count for part, count in model.parameters.items() if part in step.trained)
    share = 1 / step.ranks
    value = step.bytes_per_value
    vision_tokens = step.tiles * model.tile_tokens
    # In the computation's type: of all ranks' shares, or cast from this one's float32.
    copied = step.ranks > 1 or value < step.master_bytes
    gathered = value * (model.parameters["head"] + _layer_parameters(model.text)) if copied else 0
    return MemoryEstimate(
        weights=int(share * step.master_bytes * everything) + gathered,
        gradients=int(share * step.master_bytes * trained),
        optimizer=int(share * 2 * FP32 * trained),
        reference=int(share * step.master_bytes * everything) if step.second_model else 0,
        text_activations=_activations(model.text, step.tokens, step.keys, value, step.checkpointing),
        vision_activations=_activations(model.vision, vision_tokens, vision_tokens, value, step.checkpointing)
        if "vision" in step.trained
        else vision_tokens * model.vision.hidden * value * 4,
        head=_head(model, step),
    )


def _layer_parameters(stack: StackShape) -> int:
    attention = stack.hidden * (2 * stack.query + 2 * stack.kv)
    return attention + (3 if stack.gated else 2) * stack.hidden * stack.mlp


def layer_activations(stack: StackShape, tokens: int, keys: int, value: int) -> int:
    """Bytes that autograd keeps for one layer."""
    hidden = stack.hidden * tokens
    norms = 2 * (hidden * value + (hidden * FP32 if value < FP32 else hidden * value))
    attention = (2 * stack.query * tokens + 2 * stack.kv * keys) * value + stack.query // 64 * tokens * FP32
    output = stack.query * tokens * value
    mlp = ((4 if stack.gated else 2) * stack.mlp * tokens + hidden) * value
    return norms + attention + output + hidden * value + mlp


def products(stack: StackShape, tokens: int, keys: int, value: int) -> int:
    """Bytes of one layer's results of matrix products and attention, and its input."""
    attention = (3 * stack.hidden + 2 * stack.query) * tokens * value + stack.query // 64 * tokens * FP32
    return attention + 2 * stack.kv * keys * value + (2 if stack.gated else 1) * stack.mlp * tokens * value


def _activations(stack: StackShape, tokens: int, keys: int, value: int, checkpointing: Checkpointing) -> int:
    """All layers in full; or what each one keeps, and one layer in full."""
    layer = layer_activations(stack, tokens, keys, value)
    if checkpointing == "none":
        return stack.layers * layer
    each = products(stack, tokens, keys, value) if checkpointing == "matmuls" else tokens * stack.hidden * value
    return layer + stack.layers * each


def choose_checkpointing(model: ModelShape, step: StepShape, room: int) -> Checkpointing:
    """`matmuls`, which costs next to no time, where a step then takes no more than `room` bytes; else `full`."""
    return "matmuls" if estimate_memory(model, replace(step, checkpointing="matmuls")).total <= room else "full"


def _head(model: ModelShape, step: StepShape) -> int:
    """Hidden states of scored tokens with gradient, a chunk of logits with its slope, the gradient of the weights."""
    hidden = model.text.hidden
    chunk = min(step.chunk_bytes, step.scored * model.vocabulary * FP32)
    accumulated = hidden * model.vocabulary * FP32 if "head" in step.trained else 0
    return 2 * step.scored * hidden * step.bytes_per_value + 2 * chunk + accumulated


def check_memory(needed: MemoryEstimate, available: int) -> None:
    """Stop before a step that cannot fit. `available` in bytes, of one device."""
    if needed.total > available:
        raise TrainingError(
            f"A step needs about {needed.total / GIB:.1f} GiB, the device has {available / GIB:.1f} GiB:\n    "
            + "\n    ".join(needed.lines()),
            remedy="Lower the token budget, turn on gradient checkpointing, freeze the vision tower, use LoRA, or"
            " train on more devices.",
        )


def shape_of(model: Any, family: Any) -> ModelShape:
    """The shape of a transformers model, its parameters counted by part."""
    text, vision = family.language_model(model).config, getattr(model.config, "vision_config", None)
    parts = {
        "vision": family.vision(model),
        "projector": family.projector(model),
        "text": family.language_model(model),
    }
    counts = {name: {id(p): p.numel() for p in part.parameters()} for name, part in parts.items()}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    counts["head"] = {id(p): p.numel() for end in ends for p in end.parameters()}
    for name, other in (("vision", "projector"), ("text", "head")):  # one inside the other in some families
        counts[name] = {key: size for key, size in counts[name].items() if key not in counts[other]}
    return ModelShape(
        text=_text_stack(text),
        vision=_vision_stack(vision),
        vocabulary=text.vocab_size,
        tile_tokens=_tile_tokens(vision),
        parameters={name: sum(sizes.values()) for name, sizes in counts.items()},
        idle_experts=_idle_experts(family.language_model(model)),
        patch_values=_patch_values(vision),
    )


def _text_stack(config: Any) -> StackShape:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    experts = experts_of(config)
    width = getattr(config, "moe_intermediate_size", None) if experts else None
    return StackShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        mlp=experts.taken * width if experts and width else config.intermediate_size,
        query=head * config.num_attention_heads,
        kv=head * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads),
        gated=True,
    )


def _vision_stack(config: Any) -> StackShape:
    """By the names that towers use; one without them counts by its parameters alone."""
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "depth", None) or 0)
    width = int(getattr(config, "embed_dim", None) or getattr(config, "hidden_size", None) or 0)
    mlp = int(getattr(config, "intermediate_size", None) or width * getattr(config, "mlp_ratio", 4))
    return StackShape(layers, width, mlp, width, width, gated=hasattr(config, "spatial_merge_size"))


def _tile_tokens(config: Any) -> int:
    """Tokens of a tile in the vision tower, the class token included; 1 where tiles are single patches."""
    if hasattr(config, "spatial_merge_size") or not hasattr(config, "image_size"):
        return 1
    (height, width), (down, across) = _sides(config.image_size), _sides(getattr(config, "patch_size", 14))
    return (height // down) * (width // across) + 1


def _patch_values(config: Any) -> int:
    """Values of an image that become one token of the tower."""
    down, across = _sides(getattr(config, "patch_size", None) or 14)
    return 3 * down * across * (getattr(config, "temporal_patch_size", None) or 1)


def _sides(size: Any) -> tuple[int, int]:
    down, across = size if isinstance(size, list | tuple) else (size, size)
    return int(down), int(across)


def _idle_experts(language: Any) -> int:
    """Experts are stacked parameters (E, ...) of modules named `experts`; a token takes some of them."""
    experts = experts_of(language.config)
    if experts is None:
        return 0
    stacks = [module for name, module in language.named_modules() if name.rpartition(".")[2] == "experts"]
    return (
        sum(p.numel() for stack in stacks for p in stack.parameters())
        * (experts.count - experts.taken)
        // experts.count
    )
