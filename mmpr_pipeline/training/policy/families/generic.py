"""Any vision-language model of transformers, by the methods and names that its models share.

The composite model embeds text and images by itself; right before its language model runs, a hook puts our positions
and attention layout in place of its own. So whatever a model does with its images (tiles, newlines, features that enter
deeper layers) is its own code, and nothing of it is written again here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch
from mmpr_pipeline.training.policy.families.sharing import not_shareable

_INSIDE_TOWER = ("merger", "deepstack_merger_list", "patch_merger")  # projectors that are part of the vision tower


class Generic:
    """A composite `model.model` with a vision tower and a language model in it, as almost all of transformers'."""

    def language_model(self, model: Any) -> Any:
        """Raises ConfigError where none is found."""
        found = self._core(model).get_decoder()
        if found is self._core(model) or getattr(model.config, "is_encoder_decoder", False):
            raise ConfigError(
                f"Models of type {model.config.model_type!r} cannot be trained: no causal language model is found.",
                remedy="Use another model, or bring its family by the entry-point group `mmpr.families`.",
            )
        return found

    def vision(self, model: Any) -> nn.Module:
        """The tower under one of transformers' usual names."""
        core = self._core(model)
        found: nn.Module = core.get_encoder(modality="image")
        return nn.ModuleList() if found is core else found

    def projector(self, model: Any) -> nn.Module:
        """What is neither tower nor language model, and the mergers of the tower."""
        core, vision = self._core(model), self.vision(model)
        apart = {id(vision), id(self.language_model(model))}
        beside = [child for child in core.children() if id(child) not in apart]
        inside = [getattr(vision, name) for name in _INSIDE_TOWER if hasattr(vision, name)]
        own = [value for value in core._parameters.values() if value is not None]  # e.g. the embedding of a new row
        return nn.ModuleList([*beside, *inside, *([nn.ParameterList(own)] if own else [])])

    def image_token(self, model: Any) -> int:
        """Raises ConfigError where the config names none."""
        for name in ("image_token_id", "image_token_index"):
            if isinstance(found := getattr(model.config, name, None), int):
                return found
        raise ConfigError(
            f"The config of {model.config.model_type!r} names no image token.",
            remedy="Set image_token_id in config.json, or bring a family of your own.",
        )

    def image_tokens(self, model: Any, images: ImageInputs) -> int | None:
        """By the grid of patches where images have one, by tiles of one size where the config says their tokens."""
        if "pixel_values" not in images:
            return 0
        config, vision = model.config, model.config.vision_config
        if "image_grid_thw" in images:
            merge: int = getattr(vision, "spatial_merge_size", None) or config.spatial_merge_size
            return int(images["image_grid_thw"].prod(1).sum()) // merge**2
        each = self.tokens_per_tile(model)
        return len(images["pixel_values"]) * each if each and "image_sizes" not in images else None

    def tokens_per_tile(self, model: Any) -> int | None:
        """InternVL's by pixel shuffle, Gemma's by the config."""
        config, vision = model.config, model.config.vision_config
        if hasattr(config, "downsample_ratio"):
            (height, width), (down, across) = vision.image_size, vision.patch_size
            return int((height // down) * (width // across) * config.downsample_ratio**2)
        found: int | None = getattr(config, "mm_tokens_per_image", None)
        return found

    def blank_image(self, model: Any) -> dict[str, Tensor]:
        """One small picture: a merged square of patches, a tile, or the whole with its tiles. Of ones, as some models
        take zeros for padding. Raises ConfigError where the form of images is unknown."""
        vision: Any = getattr(model.config, "vision_config", None)
        method = getattr(self._core(model), "get_image_features", None)
        patch = getattr(vision, "patch_size", None)
        if method is None or patch is None:
            raise ConfigError(
                f"The form of an image of {model.config.model_type!r} is unknown, which several ranks must know.",
                remedy="Train with one process, or bring a family of your own with `blank_image`.",
            )
        wanted = inspect.signature(method).parameters
        down, across = sides_of(patch)
        channels = getattr(vision, "num_channels", None) or getattr(vision, "in_channels", None) or 3
        if "image_grid_thw" in wanted:
            merge = vision.spatial_merge_size
            values = channels * getattr(vision, "temporal_patch_size", 1) * down * across
            grid = torch.tensor([[1, merge, merge]])
            return {"pixel_values": torch.ones(merge * merge, values), "image_grid_thw": grid}
        height, width = sides_of(vision.image_size)
        rows: tuple[int, ...] = (1,)
        sizes: tuple[int, ...] = ()
        if "pixel_attention_mask" in wanted:  # (prompts, images of each, ...)
            rows = (1, 1)
        elif pinpoints := getattr(model.config, "image_grid_pinpoints", None):  # (images, the whole and its tiles, ...)
            sizes = min(map(sides_of, pinpoints), key=lambda sides: sides[0] * sides[1])
            rows = (1, 1 + (sizes[0] // height) * (sizes[1] // width))
        elif "image_sizes" in inspect.signature(self.vision(model).forward).parameters:  # of any size
            merge = getattr(model.config, "spatial_merge_size", 1)
            sizes = height, width = 2 * merge * down, merge * across
        made = {"pixel_values": torch.ones(*rows, channels, height, width)}
        return {**made, "image_sizes": torch.tensor([sizes])} if sizes else made

    def blank_features(self, model: Any) -> Tensor:
        """The sum over all that a blank image's encoding gives the language model."""
        like = model.get_input_embeddings().weight  # gathered with the root when sharded: of the computation's type
        blank = {n: v.to(like.device) for n, v in self.blank_image(model).items()}
        blank["pixel_values"] = blank["pixel_values"].to(like.dtype)
        out = self._core(model).get_image_features(**blank, return_dict=True)
        parts = [getattr(out, "pooler_output", out), getattr(out, "deepstack_features", None)]
        return torch.stack([tensor.sum() for tensor in _tensors(parts)]).sum()

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        """(1, T); with a rope index of the model's own its positions of the prompts, responses going on from there."""
        core = self._core(model)
        if not hasattr(core, "get_rope_index"):
            return batch.positions.unsqueeze(0)
        axes: Tensor | None = None
        at: dict[str, int] = {}
        ends = [start for start, _ in batch.prompts[1:]] + [batch.tokens]
        for (start, stop), end, rows in zip(batch.prompts, ends, batch.image_rows, strict=True):
            ids = batch.input_ids[None, start:stop]
            taken = {n: batch.images[n][at.get(n, 0) : at.get(n, 0) + count] for n, count in rows.items()}
            at = {n: at.get(n, 0) + rows.get(n, 0) for n in {*at, *rows}}
            known = {**taken, **self.text_inputs(model, ids), "attention_mask": torch.ones_like(ids)}
            wanted = inspect.signature(core.get_rope_index).parameters
            prompt, delta = core.get_rope_index(ids, **{n: v for n, v in known.items() if n in wanted})
            if axes is None:
                axes = batch.positions.expand(len(prompt), -1).clone()
            axes[:, start:stop] = prompt[:, 0]
            axes[:, stop:end] += int(delta)
        assert axes is not None  # a batch holds a group
        return axes.unsqueeze(1)

    def text_inputs(self, model: Any, input_ids: Tensor) -> dict[str, Tensor]:
        """Which tokens are images', for models that ask for it (Qwen and GLM for positions, Gemma for its mask)."""
        wanted = inspect.signature(self._core(model).forward).parameters
        names = [name for name in ("mm_token_type_ids", "token_type_ids") if name in wanted]
        return {name: (input_ids == self.image_token(model)).int() for name in names}

    def hidden_states(self, model: Any, batch: PackedBatch, positions: Tensor, **attention: Any) -> Tensor:
        """(T, D) of the packed row."""
        replaced = {"position_ids": positions, "attention_mask": None, "use_cache": False}
        with _arguments(self.language_model(model), {**replaced, **attention, **self.attention_inputs(model, batch)}):
            out = self._core(model)(
                input_ids=batch.input_ids.unsqueeze(0),
                position_ids=positions,
                attention_mask=None,
                **batch.images,
            )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def attention_inputs(self, model: Any, batch: PackedBatch) -> dict[str, object]:
        """More for every layer's attention function: none, unless a subclass says so."""
        return {}

    def not_shareable(self, model: Any) -> list[str]:
        """By the config, the output layer and the attention's ways of transformers."""
        return not_shareable(model, self.language_model(model))

    def _core(self, model: Any) -> Any:
        return model.base_model


def sides_of(size: Any) -> tuple[int, int]:
    """Height and width: of a pair, or of a square."""
    down, across = size if isinstance(size, list | tuple) else (size, size)
    return int(down), int(across)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


@contextmanager
def _arguments(module: nn.Module, replaced: dict[str, object]) -> Iterator[None]:
    """Within, `module` is called with these keyword arguments, whatever its caller gives."""

    def replace(module: nn.Module, args: Any, kwargs: dict[str, object]) -> Any:
        return args, {**kwargs, **replaced}

    handle = module.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
