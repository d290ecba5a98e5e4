"""What the trainer must know of a vision-language model: of any of transformers, by the methods and names they share.

The composite model embeds text and images by itself; right before its language model runs, a hook puts our positions
and attention layout in place of its own. So whatever a model does with its images (tiles, newlines, features that enter
deeper layers) is its own code, and nothing of it is written again here.

Most models need no class of their own: `Family` itself is right for them. Packages bring subclasses through the
entry-point group `mmpr.families`: the entry's name is the config's `model_type`, its value a class that is called
without arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch, images_as

_ATTENTION = {"full_attention", "sliding_attention"}
_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier")
_INSIDE_TOWER = ("merger", "deepstack_merger_list", "patch_merger")  # projectors that are part of the vision tower


class Family:
    """A composite `model.model` with a vision tower and a language model in it, as almost all of transformers'; a model
    that differs has a subclass. `model` is always the bare transformers model, adapters of peft inside it."""

    def language_model(self, model: Any) -> Any:
        """The stack of decoder layers, final norm included, without the output layer. Raises ConfigError where none is
        found."""
        found, why = model.base_model.get_decoder(), ""
        if found is model.base_model or getattr(model.config, "is_encoder_decoder", False):
            why = "no causal language model is found"
        elif getattr(found.config, "cross_attention_layers", None):
            why = "its images are not tokens of the prompt, they enter by cross-attention"
        if why:
            raise ConfigError(
                f"Models of type {model.config.model_type!r} cannot be trained: {why}.",
                remedy="Use another model, or bring its family by the entry-point group `mmpr.families`.",
            )
        return found

    def vision(self, model: Any) -> nn.Module:
        """The vision tower; an empty module where none has one of transformers' usual names."""
        found: nn.Module = model.base_model.get_encoder(modality="image")
        return nn.ModuleList() if found is model.base_model else found

    def projector(self, model: Any) -> nn.Module:
        """What maps vision features to the language model's width: what is neither tower nor language model, and the
        mergers inside of some towers."""
        core, vision = model.base_model, self.vision(model)
        apart = {id(vision), id(self.language_model(model))}
        beside = [child for child in core.children() if id(child) not in apart]
        inside = [getattr(vision, name) for name in _INSIDE_TOWER if hasattr(vision, name)]
        own = [value for value in core._parameters.values() if value is not None]  # e.g. the embedding of a new row
        return nn.ModuleList([*beside, *inside, *([nn.ParameterList(own)] if own else [])])

    def image_token(self, model: Any) -> int:
        """The token whose places in a prompt the images take. Raises ConfigError where the config names none."""
        for name in ("image_token_id", "image_token_index"):
            if isinstance(found := getattr(model.config, name, None), int):
                return found
        raise ConfigError(
            f"The config of {model.config.model_type!r} names no image token.",
            remedy="Set image_token_id in config.json, or bring a family of your own.",
        )

    def image_tokens(self, model: Any, images: ImageInputs) -> int | None:
        """Image tokens that the prompts must hold for these images: by their grid of patches, or by tiles of one size
        where the config says their tokens; else None."""
        if "pixel_values" not in images:
            return 0
        config, vision = model.config, model.config.vision_config
        if "image_grid_thw" in images:
            merge: int = getattr(vision, "spatial_merge_size", None) or config.spatial_merge_size
            return int(images["image_grid_thw"].prod(1).sum()) // merge**2
        each = self.tokens_per_tile(model)
        return len(images["pixel_values"]) * each if each and "image_sizes" not in images else None

    def tokens_per_tile(self, model: Any) -> int | None:
        """Tokens that a tile of fixed size becomes in the prompt: InternVL's by pixel shuffle, Gemma's by the config;
        else None."""
        config, vision = model.config, model.config.vision_config
        if hasattr(config, "downsample_ratio"):
            (height, width), (down, across) = vision.image_size, vision.patch_size
            return int((height // down) * (width // across) * config.downsample_ratio**2)
        found: int | None = getattr(config, "mm_tokens_per_image", None)
        return found

    def features(self, model: Any, images: ImageInputs) -> Tensor:
        """A scalar that depends on every part that encodes an image: the sum over what the model makes of these.

        Raises ConfigError where the model has no `get_image_features`.
        """
        method = getattr(model.base_model, "get_image_features", None)
        if method is None:
            raise ConfigError(
                f"{model.config.model_type!r} has no get_image_features, by which ranks without images take part.",
                remedy="Train with one process, or bring a family of your own with `features`.",
            )
        like = model.get_input_embeddings().weight  # gathered with the root when sharded: of the computation's type
        wanted = inspect.signature(method).parameters
        taken = {name: value.to(like.device) for name, value in images.items() if name in wanted}
        out = method(**images_as(like.dtype, taken), return_dict=True)
        parts = tree_leaves([getattr(out, "pooler_output", out), getattr(out, "deepstack_features", None)])
        return torch.stack([part.sum() for part in parts if isinstance(part, Tensor)]).sum()

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        """Position ids for the language model, (1, T); or (axes, 1, T) by a rope index of the model's own, which gives
        those of the prompts, responses going on from there."""
        core = model.base_model
        if not hasattr(core, "get_rope_index"):
            return batch.positions.unsqueeze(0)
        axes: Tensor | None = None
        wanted = inspect.signature(core.get_rope_index).parameters
        ends = [start for start, _ in batch.prompts[1:]] + [batch.tokens]
        for (start, stop), end, images in zip(batch.prompts, ends, batch.images_by_group(), strict=True):
            ids = batch.input_ids[None, start:stop]
            known = {**images, **self.text_inputs(model, ids, [stop - start]), "attention_mask": torch.ones_like(ids)}
            prompt, delta = core.get_rope_index(ids, **{n: v for n, v in known.items() if n in wanted})
            if axes is None:
                axes = batch.positions.expand(len(prompt), -1).clone()
            axes[:, start:stop] = prompt[:, 0]
            axes[:, stop:end] += int(delta)
        assert axes is not None  # a batch holds a group
        return axes.unsqueeze(1)

    def text_inputs(self, model: Any, input_ids: Tensor, prompts: Sequence[int]) -> dict[str, Tensor]:
        """What the model's own forward asks for besides `input_ids` (B, T), of the same shape: which tokens are images'
        (Qwen and GLM for positions, Gemma for its mask). `prompts` are the tokens of each row before its response."""
        wanted = inspect.signature(model.base_model.forward).parameters
        names = [name for name in ("mm_token_type_ids", "token_type_ids") if name in wanted]
        return {name: (input_ids == self.image_token(model)).int() for name in names}

    def hidden_states(self, model: Any, batch: PackedBatch, positions: Tensor, **attention: Any) -> Tensor:
        """(T, D) of the packed row after the final norm; `attention` goes to every layer's attention function."""
        replaced = {"position_ids": positions, "attention_mask": None, "use_cache": False}
        replaced |= {**attention, **self.attention_inputs(model, batch)}

        handle = self.language_model(model).register_forward_pre_hook(
            lambda language, args, kwargs: (args, {**kwargs, **replaced}), with_kwargs=True
        )
        try:
            ids = batch.input_ids.unsqueeze(0)
            out = model.base_model(input_ids=ids, position_ids=positions, attention_mask=None, **batch.images)
        finally:
            handle.remove()
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def attention_inputs(self, model: Any, batch: PackedBatch) -> dict[str, object]:
        """More for every layer's attention function: none, unless a subclass says so."""
        return {}

    def not_shareable(self, model: Any) -> list[str]:
        """What keeps a model from sharing prefixes, in words; empty where nothing is known to.

        A model may still compute something of its own that no config names: types outside of `families.CHECKED` are
        compared with their own forward before training.
        """
        language = self.language_model(model)
        text, head = language.config, model.get_output_embeddings()
        found = []
        if other := sorted(set(getattr(text, "layer_types", None) or []) - _ATTENTION):
            found.append(f"layers of type {', '.join(other)}")
        if not getattr(language, "_supports_attention_backend", False):
            found.append("attention that cannot be exchanged")
        if any(getattr(text, name, None) for name in ("final_logit_softcapping", "attn_logit_softcapping")):
            found.append("soft-capped logits")
        if any(getattr(text, name, None) not in (None, 1, 1.0) for name in _SCALES):
            found.append("scaled logits")
        if type(head) is not nn.Linear or head.bias is not None:
            found.append(f"the output layer {type(head).__name__} (a plain linear one without bias is computed)")
        return found


class Gemma3(Family):
    """The tokens of an image see each other in both directions, and most layers see a window only."""

    def attention_inputs(self, model: Any, batch: PackedBatch) -> dict[str, object]:
        """`blocks` (T,): the number of the run of image tokens that a token is in, -1 for text. A run is one image."""
        is_image = batch.input_ids == self.image_token(model)
        starts = is_image & ~nn.functional.pad(is_image, (1, 0))[:-1]
        return {"blocks": torch.where(is_image, starts.cumsum(0) - 1, -1)}


class PaliGemma(Family):
    """The whole prompt sees itself in both directions, positions count from 1, and of the model's token types 1 is the
    response."""

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        return super().positions(model, batch) + 1

    def text_inputs(self, model: Any, input_ids: Tensor, prompts: Sequence[int]) -> dict[str, Tensor]:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        starts = torch.tensor(prompts, device=input_ids.device)
        return {"token_type_ids": (places >= starts[:, None]).int()}

    def attention_inputs(self, model: Any, batch: PackedBatch) -> dict[str, object]:
        """`blocks`: the number of the prompt that a token is of, -1 for responses."""
        blocks = torch.full_like(batch.input_ids, -1)
        for number, (start, end) in enumerate(batch.prompts):
            blocks[start:end] = number
        return {"blocks": blocks}


CHECKED = frozenset(
    {
        "gemma3", "glm4v", "glm4v_moe", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "mistral3",
        "paligemma", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "smolvlm",
    }
)  # fmt: skip
"""Types for which the tests hold prefix sharing equal to separate forwards. Others are compared before training."""


FAMILIES: Registry[Callable[[], Family]] = Registry(
    "mmpr.families",
    "model family",
    {"gemma3": f"{__name__}:Gemma3", "paligemma": f"{__name__}:PaliGemma"},
)


def family_of(model: Any) -> Family:
    """The family of a model by its config's `model_type`; the generic one where the registry has none of that name.

    Raises ConfigError for an original InternVL checkpoint.
    """
    kind = str(getattr(model.config, "model_type", None))
    if kind == "internvl_chat":
        raise ConfigError(
            "This is an original InternVL checkpoint, which needs remote code.",
            remedy="Convert it to the transformers-native format first: mmpr convert.",
        )
    return FAMILIES.get(kind)() if kind in FAMILIES.names() else Family()
