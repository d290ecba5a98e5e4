"""Loading a transformers-native vision-language model for training, and saying which of its parts learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.models.convert.first_use import native
from mmpr_pipeline.models.resolve import resolve_model
from mmpr_pipeline.models.torchvision_cpu import install
from mmpr_pipeline.training.policy.families.family import family_of
from mmpr_pipeline.training.settings import LoraSettings, TrainConfig


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
