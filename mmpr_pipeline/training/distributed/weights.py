"""Weights between a transformers checkpoint and the shards of a policy, without any rank holding the model.

The policy is built without memory for its weights, sharded, and only then filled: each rank reads its own slice of
every tensor. An export is the base checkpoint, file by file, with trained tensors in the place of the base's: same
names, same types, and the bytes of the base where nothing was trained. A rank holds one whole tensor at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.policy.nf4 import quantised

ADAPTER = ("lora_A", "lora_B")


@dataclass(frozen=True)
class Stored:
    """A folder of safetensors that holds every weight of a model as it is: by the model's name, its file and key."""

    folder: Path
    places: dict[str, tuple[Path, str]]


def stored_weights(folder: Path, model: Any) -> Stored | None:
    """Where the weights of a (bare, possibly empty) model lie.

    None where they are not stored one to one (tied weights, experts that transformers fuses, statistics that are no
    parameters, other formats): such a model is loaded whole, by transformers itself. Raises ConfigError where a weight
    is missing.
    """
    names = {name for name, _ in model.named_parameters()}
    if len(names) < len(list(model.named_parameters(remove_duplicate=False))):
        return None
    files = sorted(folder.glob("*.safetensors"))
    renamed = _renaming(model)
    if not files or renamed is None:
        return None
    others = model.state_dict().keys() - names
    places: dict[str, tuple[Path, str]] = {}
    for file in files:
        for key in _header(file)[0]:
            name, converted = renamed(key)
            if converted or name in others:
                return None
            if name in names:
                places[name] = (file, key)
    if missing := sorted(names - places.keys()):
        raise ConfigError(
            f"{folder} lacks {len(missing)} weights of its architecture, {missing[0]} first.",
            remedy="The checkpoint is torn or of another format: download or convert it again.",
        )
    return Stored(folder, places)


def check_shapes(stored: Stored, model: Any) -> None:
    """Raise ConfigError for a stored weight of another shape than the model's; nothing but headers is read."""
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    headers = {file: _header(file)[0] for file, _ in stored.places.values()}
    for name, (file, key) in stored.places.items():
        _check_shape(key, headers[file][key]["shape"], shapes[name])


def _check_shape(key: str, found: list[int], wanted: list[int]) -> None:
    if found != wanted:
        raise ConfigError(
            f"The weight {key} has the shape {found}, by its config {wanted}.",
            remedy="Config and weights of this checkpoint do not belong together.",
        )


def _renaming(model: Any) -> Callable[[str], tuple[str, Any]] | None:
    """What transformers makes of a stored name: the model's name, and the converter where it computes something."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        mapping = get_model_conversion_mapping(model)
        renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
        converters = [each for each in mapping if isinstance(each, WeightConverter)]
        shapes = model.state_dict()
    except (ImportError, AttributeError, TypeError):  # another release of transformers
        return None
    prefix = model.base_model_prefix
    return lambda key: rename_source_key(key, renamings, converters, prefix, shapes)


@torch.no_grad()
def fill(policy: Any, stored: Stored, device: torch.device, seed: int) -> None:
    """Give every parameter of a sharded policy its memory on the device, and its values; adapters begin as nothing.

    An adapter's first matrix is drawn from the seed and its name, so that it is the same for any number of ranks.
    Raises ConfigError for a weight of another shape than the config's.
    """
    policy._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t.to(device))
    wanted: dict[Path, list[tuple[str, Any]]] = {}
    for name, parameter in policy.named_parameters():
        if any(part in name for part in ADAPTER):
            # As peft begins: uniform in the first matrix (Kaiming, a = sqrt(5)), zeros in the second.
            draw_mine, draw_place = _mine(parameter)
            draw_mine.zero_()
            if ADAPTER[0] in name:
                generator = torch.Generator().manual_seed(int(content_id(str(seed), plain_name(name))[:15], 16))
                whole = torch.empty(parameter.shape).uniform_(-1, 1, generator=generator) / math.sqrt(
                    parameter.shape[1]
                )
                draw_mine.copy_(whole[draw_place])
        else:
            file, key = stored.places[plain_name(name)]
            wanted.setdefault(file, []).append((key, parameter))
    from safetensors import safe_open

    for name, layer in quantised(policy):
        file, key = stored.places[plain_name(f"{name}.weight")]
        with safe_open(file, "pt") as opened:
            layer.load(opened.get_tensor(key))
    for file, parameters in wanted.items():
        with safe_open(file, "pt") as opened:
            for key, parameter in parameters:
                found = opened.get_slice(key)
                _check_shape(key, list(found.get_shape()), list(parameter.shape))
                mine, place = _mine(parameter)
                if mine.numel():
                    mine.copy_(found[place] if place else opened.get_tensor(key))


def plain_name(name: str) -> str:
    """A policy's name for a weight as the bare model calls it."""
    return name.removeprefix("model.").removeprefix("base_model.model.").replace(".base_layer.", ".")


def _mine(parameter: Any) -> tuple[Tensor, tuple[slice, ...]]:
    """This rank's part of a parameter, and where it lies in the whole."""
    if not hasattr(parameter, "to_local"):
        return parameter, tuple(slice(0, size) for size in parameter.shape)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(
        parameter.shape, parameter.device_mesh, parameter.placements
    )  # fmt: skip
    spans = (slice(start, start + size) for start, size in zip(offset, shape, strict=True))
    return parameter.to_local(), tuple(spans)


def write_weights(policy: Any, stored: Stored, out: Path, scale: float, world: World) -> None:
    """Write the policy's weights into `out`, as `stored` has the base's; adapters count `scale`. On every rank.

    Raises TrainingError where a trained tensor is not finite, or a matrix all zero.
    """
    parameters = dict(policy.named_parameters())
    plain = {plain_name(name): name for name in parameters if not any(part in name for part in ADAPTER)}
    plain |= {plain_name(name): name for name in (f"{module}.weight" for module, _ in quantised(policy))}
    names = {place: name for name, place in stored.places.items()}
    problem: TrainingError | OSError | None = None
    for file in sorted({file for file, _ in stored.places.values()}):
        entries, start = _header(file)
        with open(file, "rb") as base, open(out / file.name if world.is_main else "/dev/null", "wb") as target:
            target.write(base.read(start))
            for key, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
                first, end = entry["data_offsets"]
                name = names.get((file, key))
                value = _trained(parameters, plain[name]) if name else None
                if not world.is_main or problem:
                    continue
                base.seek(start + first)
                before = b"" if isinstance(value, Tensor) else base.read(end - first)
                try:
                    _put(target, before, entry, value, scale, key)
                except (TrainingError, OSError) as error:  # the other ranks wait in the next gathering
                    problem = error
    problem = world.broadcast(problem)
    if problem:
        raise problem


def _trained(parameters: dict[str, Any], name: str) -> Tensor | tuple[Tensor, Tensor] | None:
    """A trained tensor, whole; the two of its adapter; None where nothing was trained. Gathers: for every rank."""
    adapter = [name.replace("base_layer.weight", f"{part}.default.weight") for part in ADAPTER]
    if adapter[0] != name and adapter[0] in parameters:
        first, second = (_whole(parameters[each]) for each in adapter)
        return first, second
    return _whole(parameters[name]) if parameters[name].requires_grad else None


def _whole(parameter: Any) -> Tensor:
    value = parameter.detach()
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _put(
    target: BinaryIO, base: bytes, entry: dict[str, Any], value: Tensor | tuple[Tensor, Tensor] | None, scale: float,
    key: str,
) -> None:  # fmt: skip
    """Write one tensor: the base's bytes, the trained values in the base's type, or the base plus its adapter."""
    if value is None:
        target.write(base)
        return
    kind = _TYPES[entry["dtype"]]
    if isinstance(value, tuple):
        first, second = (each.float().cpu() for each in value)
        before = torch.frombuffer(bytearray(base), dtype=kind).view(entry["shape"]).float()
        made = before + scale * (second @ first)
    else:
        made = value
    finite = bool(torch.isfinite(made).all())
    if not finite or (made.ndim > 1 and not bool(made.any()) and "embeddings" not in key):
        raise TrainingError(
            f"The exported weights are not usable: {key} is {'all zero' if finite else 'not finite'}.",
            remedy="Export from an earlier checkpoint; look at the metrics.",
        )
    target.write(made.to(kind).cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's entries by name, and where its data begin."""
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        entries: dict[str, Any] = json.loads(opened.read(length))
    entries.pop("__metadata__", None)
    return entries, 8 + length
