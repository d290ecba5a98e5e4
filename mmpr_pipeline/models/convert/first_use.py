"""An original InternVL checkpoint, converted to the native format when it is first used, into the cache.

vLLM and transformers serve the native format without code of the checkpoint; every machine converts once.
"""

from __future__ import annotations

import fcntl
import re
import shutil
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, EngineError
from mmpr_pipeline.core.files import cache_folder
from mmpr_pipeline.models.convert.config import TEXT_TYPES, text_kind
from mmpr_pipeline.models.resolve import ModelRef, read_model_config, resolve_model

NATIVE = "+native"
"""End of the label of a converted model."""
VERSION = 1
"""Of the conversion; part of the folder's name."""


def is_original(config: dict[str, Any]) -> bool:
    """Whether this is the config of an original checkpoint that can be converted."""
    is_internvl = config.get("model_type") == "internvl_chat" and config.get("ps_version", "v2") == "v2"
    return is_internvl and text_kind(config) in TEXT_TYPES


def native_label(model: ModelRef) -> str:
    """The label of the model as it will be used; converts nothing."""
    return model.label + NATIVE if is_original(model.config) else model.label


def native(model: ModelRef) -> ModelRef:
    """The model in the native format, converted now if it never was. Raises ConfigError or StoreError."""
    if not is_original(model.config):
        return model
    folder = native_folder(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # engines of a machine may start at once: one converts, the others wait for it
        if not folder.exists():
            wanted, free = weight_bytes(model), shutil.disk_usage(folder.parent).free
            if free < 1.05 * wanted:
                raise ConfigError(
                    f"The converted model takes {wanted / 2**30:.1f} GiB, and {folder.parent} has"
                    f" {free / 2**30:.1f} GiB free.",
                    remedy="Free some space, or set MMPR_CACHE to a folder on a larger disk.",
                )
            from mmpr_pipeline.models.convert.run import convert

            convert(model.path, folder, revision=model.revision)
    return ModelRef(str(folder), None, native_label(model), read_model_config(folder / "config.json"))


def native_folder(model: ModelRef) -> Path:
    """Where the converted model lies, or will."""
    return cache_folder() / "models" / f"{re.sub(r'[^A-Za-z0-9.@_-]+', '--', model.label)}-native{VERSION}"


def first_use(name: str, revision: str | None) -> str | None:
    """What the first use of a model will download and write, in a sentence; None where nothing is converted.

    A model that cannot be looked up is left to whoever loads it.
    """
    try:
        model = resolve_model(name, revision)
    except EngineError:
        return None
    if not is_original(model.config) or native_folder(model).exists():
        return None
    size = weight_bytes(model)
    about = f"{size / 2**30:.1f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"
    fetched = "" if Path(model.path).is_dir() else f"downloaded ({about}) and "
    return (
        f"{name} is an original InternVL checkpoint. It will be {fetched}converted once to the native format, {about} "
        f"in {native_folder(model)}; no code of the checkpoint runs."
    )


def weight_bytes(model: ModelRef) -> int:
    """Bytes of a model's weights; 0 where the Hub does not say."""
    path = Path(model.path)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors"))
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = HfApi().model_info(model.path, revision=model.revision, files_metadata=True).siblings or []
    except (OSError, HfHubHTTPError):
        return 0
    return sum(each.size or 0 for each in found if each.rfilename.endswith(".safetensors"))
