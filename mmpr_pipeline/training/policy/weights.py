"""Weights between a transformers checkpoint and the shards of a policy, without any rank holding the model.

The policy is built without memory for its weights, sharded, and only then filled: each rank reads its own slice of
every tensor. An export is the base checkpoint, file by file, with trained tensors in the place of the base's: same
names, same types, and the bytes of the base where nothing was trained. A rank holds another's part of one tensor at a
time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.training.data.batch import ImageInputs
from mmpr_pipeline.training.policy.nf4 import NF4Linear
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.world import World

ADAPTER = ("lora_A", "lora_B")
BLOCK = 16 << 20  # bytes of a tensor that are looked at, rounded and written at a time
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def shard(
    policy: PrefixSharedPolicy, world: World, dtype: torch.dtype, blank: ImageInputs, over: int | None = None
) -> PrefixSharedPolicy:
    """Spread weights, gradients and optimizer state over all ranks (FSDP2); compute in `dtype`, keep and reduce in
    float32. Fused layers and gradient checkpointing come before.

    `blank` are inputs of a small picture, by which a rank whose batch has no image takes part in the vision tower; one
    process alone does so, too: AdamW passes over what has no gradient, and would train otherwise than several ranks.
    With `over`, that many neighbouring ranks share one copy (those of a node, whose links are quick), and the copies
    add up their gradients once a micro-batch (HSDP). A single process on the CPU stays as it is. A policy without
    weights (see `fill`) may be sharded, too. Raises ConfigError where the ranks cannot be divided so.
    """
    policy.blank = blank
    if not torch.distributed.is_initialized():
        return policy if any(p.is_meta for p in policy.parameters()) else policy.to(world.device)
    sizes = (world.size // over, over) if over else (world.size,)
    if math.prod(sizes) != world.size:
        raise ConfigError(
            f"{world.size} processes cannot be divided by {over}.",
            remedy="Let launch.shard_over be the processes of a node, or a divisor of all.",
        )
    mesh = init_device_mesh(world.device.type, sizes, mesh_dim_names=("copies", "shards")[-len(sizes) :])
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32) if dtype != torch.float32 else None
    options: dict[str, object] = {"mesh": mesh, **({"mp_policy": precision} if precision else {})}
    # Each layer of the language model and of the vision tower (the members of their module lists) is gathered for its
    # own forward and backward; what is left (embeddings, output layer, projector) with the root.
    parts = (policy.family.language_model(policy.bare), policy.family.vision(policy.bare))
    lists = [module for part in parts for module in part.modules() if isinstance(module, nn.ModuleList)]
    inner = {id(m) for outer in lists for layer in outer for m in layer.modules() if isinstance(m, nn.ModuleList)}
    for layer in (layer for each in lists if id(each) not in inner for layer in each):
        fully_shard(layer, **options)
    fully_shard(policy, **options)

    # FSDP gathers the root's weights for the forward and shards them again after the backward. A forward that no
    # backward follows (the reference's, an evaluation's) would leave them gathered: optimizer and checkpoints would
    # then take these copies for the weights, and train nothing in them.
    def shard_again(policy: Any, inputs: Any, outputs: Any) -> None:
        if not torch.is_grad_enabled():
            policy.reshard()

    policy.register_forward_hook(shard_again)
    register_fsdp_forward_method(policy, "generate")
    return policy


Stored = dict[str, tuple[Path, str]]
"""Safetensors that hold every weight of a model as it is: by the model's name, its file and key."""


def stored_weights(folder: Path, model: Any) -> Stored | None:
    """Where the weights of a (bare, possibly empty) model lie; nothing but headers is read.

    None where they are not stored one to one (tied weights, experts that transformers fuses, statistics that are no
    parameters, other formats): such a model is loaded whole, by transformers itself. Raises ConfigError where a weight
    is missing, or of another shape than the config's.
    """
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    files, held = sorted(folder.glob("*.safetensors")), model.state_dict()
    if not files or len(shapes) < len(list(model.named_parameters(remove_duplicate=False))):
        return None
    try:  # what transformers makes of a stored name: the model's name, and a converter where it computes something
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        mapping = get_model_conversion_mapping(model)
        renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
        converters = [each for each in mapping if isinstance(each, WeightConverter)]
    except (ImportError, AttributeError, TypeError):  # another release of transformers
        return None
    places: Stored = {}
    others: list[tuple[str, list[int], list[int]]] = []  # of other shapes than the config's
    for file in files:
        with safe_open(file, "pt") as opened:
            found = {key: opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118  # no mapping
        for key, shape in found.items():
            name, converter = rename_source_key(key, renamings, converters, model.base_model_prefix, held)
            if converter or (name in held and name not in shapes):
                return None
            if name in shapes:
                places[name] = (file, key)
                others += [(key, shape, shapes[name])] if shape != shapes[name] else []
    if missing := sorted(shapes.keys() - places.keys()):
        raise ConfigError(
            f"{folder} lacks {len(missing)} weights of its architecture, {missing[0]} first.",
            remedy="The checkpoint is torn or of another format: download or convert it again.",
        )
    for key, shape, wanted in others:
        raise ConfigError(
            f"The weight {key} has the shape {shape}, by its config {wanted}.",
            remedy="Config and weights of this checkpoint do not belong together.",
        )
    return places


@torch.no_grad()
def fill(policy: Any, stored: Stored, device: torch.device, seed: int) -> None:
    """Give every parameter of a sharded policy its memory on the device, and its values; adapters begin as nothing.

    An adapter's first matrix is drawn from the seed and its name, so that it is the same for any number of ranks.
    """
    policy._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t.to(device))
    wanted: dict[Path, list[tuple[str, Any]]] = {}
    for name, parameter in policy.named_parameters():
        if any(part in name for part in ADAPTER):
            # As peft begins: uniform in the first matrix (Kaiming, a = sqrt(5)), zeros in the second.
            mine, place = _mine(parameter)
            mine.zero_()
            if ADAPTER[0] in name:
                generator = torch.Generator().manual_seed(int(content_id(str(seed), plain_name(name))[:15], 16))
                whole = torch.empty(parameter.shape).uniform_(-1, 1, generator=generator)
                mine.copy_((whole / math.sqrt(parameter.shape[1]))[place])
        else:
            file, key = stored[plain_name(name)]
            wanted.setdefault(file, []).append((key, parameter))
    for name, layer in policy.named_modules():
        if isinstance(layer, NF4Linear):
            file, key = stored[plain_name(f"{name}.weight")]
            with safe_open(file, "pt") as opened:
                layer.load(opened.get_tensor(key))
    for file, parameters in wanted.items():
        with safe_open(file, "pt") as opened:
            for key, parameter in parameters:
                mine, place = _mine(parameter)
                if mine.numel():
                    mine.copy_(opened.get_slice(key)[place] if place else opened.get_tensor(key))


def plain_name(name: str) -> str:
    """A policy's name for a weight as the bare model calls it."""
    return name.removeprefix("model.").removeprefix("base_model.model.").replace(".base_layer.", ".")


def _mine(parameter: Any) -> tuple[Tensor, tuple[slice, ...]]:
    """This rank's part of a parameter, and where it lies in the whole."""
    if not hasattr(parameter, "to_local"):
        return parameter, tuple(slice(0, size) for size in parameter.shape)
    mesh, placements = parameter.device_mesh, parameter.placements
    spans = zip(*compute_local_shape_and_global_offset(parameter.shape, mesh, placements), strict=True)
    return parameter.to_local(), tuple(slice(start, start + size) for size, start in spans)


def write_weights(policy: Any, stored: Stored, out: Path, scale: float, world: World) -> None:
    """Write the policy's weights into `out`, as `stored` has the base's; adapters count `scale`. On every rank.

    Raises TrainingError where a trained tensor is not finite, or a matrix all zero.
    """
    parameters = dict(policy.named_parameters())
    plain = {plain_name(name): name for name in parameters if not any(part in name for part in ADAPTER)}
    packed = [f"{name}.weight" for name, module in policy.named_modules() if isinstance(module, NF4Linear)]
    plain |= {plain_name(name): name for name in packed}
    names = {place: name for name, place in stored.items()}
    problem: TrainingError | OSError | None = None
    for file in sorted({file for file, _ in stored.values()}):
        entries, start = _header(file)
        with open(file, "rb") as base, open(out / file.name if world.is_main else "/dev/null", "wb") as target:
            target.write(base.read(start))
            for key, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
                base.seek(start + entry["data_offsets"][0])
                name = names.get((file, key))
                trained, finite, some = False, True, False
                for block in _blocks(parameters, plain[name] if name else "", base, entry, scale, world):
                    if not world.is_main or problem:  # the other ranks wait in the next gathering
                        continue
                    try:
                        if isinstance(block, Tensor):
                            trained, finite = True, finite and bool(torch.isfinite(block).all())
                            some = some or bool(block.any())
                            rounded = block.to(_TYPES[entry["dtype"]]).cpu().contiguous()
                            target.write(rounded.reshape(-1).view(torch.uint8).numpy())
                        else:
                            target.write(block)
                    except OSError as error:
                        problem = error
                zero = len(entry["shape"]) > 1 and not some and "embeddings" not in key
                if trained and not problem and (not finite or zero):
                    problem = TrainingError(
                        f"The exported weights are not usable: {key} is {'all zero' if finite else 'not finite'}.",
                        remedy="Export from an earlier checkpoint; look at the metrics.",
                    )

    def settle() -> None:
        if problem:
            raise problem

    world.on_main(settle)


def _blocks(
    parameters: dict[str, Any], name: str, base: BinaryIO, entry: dict[str, Any], scale: float, world: World
) -> Iterator[Tensor | bytes]:
    """A tensor of the export, some rows at a time, in order: trained values, or the base plus its adapter; the base's
    bytes where nothing was trained. Gathers: for every rank; content is for the first."""
    first, end = entry["data_offsets"]
    adapter = [name.replace("base_layer.weight", f"{part}.default.weight") for part in ADAPTER]
    if adapter[0] != name and adapter[0] in parameters:
        values = (parameters[each].detach() for each in adapter)
        low, high = ((v.full_tensor() if hasattr(v, "full_tensor") else v).float().cpu() for v in values)
        rows, width = entry["shape"]
        a_row = (end - first) // rows
        for part in torch.arange(rows).split(max(1, BLOCK // a_row)) if world.is_main else ():
            content = bytearray(base.read(len(part) * a_row))
            before = torch.frombuffer(content, dtype=_TYPES[entry["dtype"]]).view(len(part), width)
            yield before.float() + scale * (high[part] @ low)
    elif name in parameters and parameters[name].requires_grad:
        for part in _parts(parameters[name].detach()):
            blocks = max(1, part.nbytes // BLOCK)
            yield from part.tensor_split(blocks) if part.ndim else [part]
    elif world.is_main:
        for at in range(first, end, BLOCK):
            yield base.read(min(BLOCK, end - at))


def _parts(value: Any) -> Iterator[Tensor]:
    """A tensor by the rows of its shards, in order: each owner gives its own to the ranks that share one copy."""
    if not hasattr(value, "to_local"):
        yield value
        return
    mine = value.to_local().contiguous()
    group = value.device_mesh.get_group(value.device_mesh.ndim - 1)
    owners = torch.distributed.get_process_group_ranks(group)
    rows = torch.empty(value.shape[0], device="meta").chunk(len(owners))  # as FSDP divides the first dimension
    for owner, part in zip(owners, rows, strict=False):  # the last ranks may own none
        own = owner == torch.distributed.get_rank()
        block = mine if own else mine.new_empty(len(part), *value.shape[1:])
        torch.distributed.broadcast(block, owner, group=group)
        yield block


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's entries by name, and where its data begin."""
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        entries: dict[str, Any] = json.loads(opened.read(length))
    entries.pop("__metadata__", None)
    return entries, 8 + length
