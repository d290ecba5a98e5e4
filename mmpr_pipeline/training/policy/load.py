"""A transformers-native vision-language model made ready for training: found, its parts chosen, sharded, filled.

It is built without memory for its weights, sharded, and only then filled: each rank reads its own slice of every
tensor, and none holds the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.models.convert.first_use import native
from mmpr_pipeline.models.resolve import resolve_model
from mmpr_pipeline.models.torchvision_cpu import install
from mmpr_pipeline.training.data.batch import ImageInputs
from mmpr_pipeline.training.policy.families.family import family_of
from mmpr_pipeline.training.policy.nf4 import NF4Linear
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.settings import LoraSettings, TrainConfig
from mmpr_pipeline.training.world import World

ADAPTER = ("lora_A", "lora_B")


@dataclass(frozen=True)
class ModelFolder:
    """A model on local disk, with the label under which it is known."""

    path: Path
    label: str
    revision: str | None
    kind: str
    """`model_type` of its config."""


def find_model(name: str, revision: str | None = None) -> ModelFolder:
    """The folder of a model: local, embedded, or fetched from the Hub.

    An original InternVL checkpoint is converted to the native format, once, into the cache. Raises EngineError where
    the model cannot be found, ConfigError for an original that cannot be converted.
    """
    found = native(resolve_model(name, revision))
    if found.config.get("model_type") == "internvl_chat":
        raise ConfigError(
            f"{name} is an original InternVL checkpoint of a kind that cannot be converted.",
            remedy="Give a checkpoint in the transformers-native format (its name often ends in -hf).",
        )
    path = Path(found.path)
    if not path.is_dir():
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
        path = Path(snapshot_download(found.path, revision=found.revision, allow_patterns=wanted))
    return ModelFolder(path, found.label, found.revision, str(found.config.get("model_type")))


def load_processor(folder: Path) -> Any:
    """The model's processor. Raises ConfigError where the folder holds none, or one that takes no images."""
    install()
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(
            f"The processor of {folder} cannot be loaded: {str(error).splitlines()[0]}",
            remedy="The folder must hold tokenizer, chat template and image processor, as save_pretrained writes them.",
        ) from None
    if not hasattr(processor, "image_processor"):
        raise ConfigError(f"The processor of {folder} takes no images.", remedy="Use a vision-language model.")
    return processor


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The model in `dtype` on the CPU, in training mode. Raises ConfigError where it cannot be loaded or trained."""
    install()
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would run through our own
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _not_loadable(folder, error) from None
    missing = sorted(info["missing_keys"])
    if missing:
        raise ConfigError(
            f"{folder} lacks {len(missing)} weights of its architecture, {missing[0]} first.",
            remedy="The checkpoint is torn or of another format: download or convert it again.",
        )
    family_of(model)  # refuses what cannot be trained, before anything else is spent on it
    return model.train()


def empty_model(folder: Path) -> Any:
    """The model without its weights, in training mode: parameters of no storage, buffers as they should be.

    Raises ConfigError where the folder holds no config of a model that transformers knows.
    """
    install()
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with init_empty_weights(include_buffers=False):  # no checkpoint holds buffers: they are computed as ever
            model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32, trust_remote_code=False)
        model.tie_weights()  # accelerate makes a parameter anew wherever it is set
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _not_loadable(folder, error) from None
    family_of(model)
    return model.train()


def _not_loadable(folder: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"The model {folder} cannot be loaded: {str(error).splitlines()[0]}",
        remedy="Give a transformers-native checkpoint; originals of InternVL become one by `mmpr convert`.",
    )


def choose_parts(model: Any, config: TrainConfig) -> Any:
    """Freeze what is not to learn, add adapters; gives the (wrapped) model.

    Raises ConfigError where adapters find nothing to adapt.
    """
    family = family_of(model)
    parts = [
        ("vision", family.vision(model)), ("language", family.language_model(model)),
        ("language", model.get_output_embeddings()), ("projector", family.projector(model)),
    ]  # fmt: skip
    for name, module in parts:  # the projector last: it is inside the vision tower in some families
        module.requires_grad_(name not in config.freeze)
    return add_adapters(model, config.lora, config.seed) if config.lora else model


def add_adapters(model: Any, lora: LoraSettings, seed: int) -> Any:
    """The model with fresh low-rank adapters (they change nothing yet) on the language model; all else frozen."""
    from peft import LoraConfig, get_peft_model

    text = family_of(model).language_model(model)
    prefix = next(name for name, module in model.named_modules() if module is text)
    targets = [
        name
        for name, module in model.named_modules()
        if name.startswith(f"{prefix}.") and isinstance(module, torch.nn.Linear) and name.split(".")[-1] in lora.targets
    ]
    if not targets:
        raise ConfigError(
            f"The language model has no layer named {', '.join(lora.targets)}.", remedy="Correct lora.targets."
        )
    torch.manual_seed(seed)
    return get_peft_model(model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets))


def computation_type(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The type that forward and backward compute in. Raises ConfigError for bfloat16 where sharding, which casts the
    weights for it, is not there."""
    if config.dtype == "bfloat16" and device.type == "cpu" and not torch.distributed.is_initialized():
        raise ConfigError(
            "A single process on the CPU computes in float32.",
            remedy="Leave dtype at auto; or train on a GPU, or under torchrun.",
        )
    half = config.dtype == "bfloat16" or (config.dtype == "auto" and device.type == "cuda")
    return torch.bfloat16 if half else torch.float32


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
            mine, place = _own_part(parameter)
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
                mine, place = _own_part(parameter)
                if mine.numel():
                    mine.copy_(opened.get_slice(key)[place] if place else opened.get_tensor(key))


def plain_name(name: str) -> str:
    """A policy's name for a weight as the bare model calls it."""
    return name.removeprefix("model.").removeprefix("base_model.model.").replace(".base_layer.", ".")


def _own_part(parameter: Any) -> tuple[Tensor, tuple[slice, ...]]:
    """This rank's part of a parameter, and where it lies in the whole."""
    if not hasattr(parameter, "to_local"):
        return parameter, tuple(slice(0, size) for size in parameter.shape)
    mesh, placements = parameter.device_mesh, parameter.placements
    spans = zip(*compute_local_shape_and_global_offset(parameter.shape, mesh, placements), strict=True)
    return parameter.to_local(), tuple(slice(start, start + size) for size, start in spans)
