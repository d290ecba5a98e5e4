"""`mmpr convert IN OUT`: one original tensor after the other, so that memory holds one output file at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, StoreError, TrainingError
from mmpr_pipeline.core.files import atomic_folder
from mmpr_pipeline.models.convert.config import heads_of, native_config, text_type
from mmpr_pipeline.models.convert.processor import IMAGE_TOKENS, native_processor
from mmpr_pipeline.models.convert.weights import convert_tensor
from mmpr_pipeline.models.resolve import read_model_config, resolve_model

FILE_BYTES = 4 << 30
_EMBEDDINGS, _HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"


class Conversion(NamedTuple):
    """What was done: weights and bytes written, type of the language model, whether its embeddings are tied."""

    tensors: int
    bytes: int
    text: str
    tied: bool


def convert(source: str | Path, out: str | Path, revision: str | None = None) -> Conversion:
    """Convert an original checkpoint (folder or Hub id `source`) to the native format, in the new folder `out`.

    Every weight of the native architecture must be there, in its shape, and no weight of the original may be left over.
    Raises ConfigError for what cannot be converted, StoreError where `out` cannot be written; then nothing is left at
    `out`.
    """
    folder, target = _folder(source, revision), Path(out)
    original = _config(folder)
    text = text_type(original)
    if target.exists():
        raise ConfigError(f"{target} already exists.", remedy="Give a new directory.")
    # Every tensor of the checkpoint and the file it is in.
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} holds no safetensors.", remedy="Download the checkpoint whole, as safetensors.")
    names: dict[str, Path] = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            names |= dict.fromkeys(opened.keys(), file)
    processor = native_processor(folder, original)
    image_token = processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKENS["context_image_token"])
    tied = not any(name.endswith(("lm_head.weight", "language_model.output.weight")) for name in names)
    config = native_config(original, image_token, tied)
    config.dtype = str(original.get("torch_dtype") or original.get("dtype") or "bfloat16")
    try:
        with atomic_folder(target) as partial:
            tensors, size = _write(names, partial, config, original)
            processor.save_pretrained(partial)
            # Generation ends at the end of the turn, and at the tokenizer's own end token.
            from transformers import GenerationConfig

            tokenizer = processor.tokenizer
            ends = {tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id} - {None}
            pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
            GenerationConfig(eos_token_id=sorted(ends), pad_token_id=pad).save_pretrained(partial)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written: {error.strerror or error}.", remedy="Free some space, or give another folder."
        ) from error
    return Conversion(tensors, size, text, tied)


def _folder(source: str | Path, revision: str | None) -> Path:
    found = resolve_model(str(source), revision)
    if Path(found.path).is_dir():
        return Path(found.path)
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt"]  # no code
    return Path(snapshot_download(found.path, revision=found.revision, allow_patterns=wanted))


def _config(folder: Path) -> dict[str, Any]:
    config = read_model_config(folder / "config.json")
    kind = config.get("model_type")
    if kind != "internvl_chat":
        native = " It is in the native format already." if kind == "internvl" else ""
        raise ConfigError(
            f"{folder} is a checkpoint of type {kind}.{native}", remedy="Give an original InternVL2 or 2.5."
        )
    return config


def _write(names: dict[str, Path], partial: Path, config: Any, original: dict[str, Any]) -> tuple[int, int]:
    """Writes config and weights; gives how many weights, and their bytes."""
    from safetensors.torch import save_file

    expected = expected_shapes(config)
    config.architectures = ["InternVLForConditionalGeneration"]
    config.save_pretrained(partial)
    files: list[list[str]] = []
    sizes: dict[str, int] = {}
    for number, tensors in enumerate(_files(names, original)):
        for name, value in tensors.items():
            wanted = expected.pop(name, None)
            if wanted != value.shape:
                raise ConfigError(
                    f"The weight {name} has the shape {tuple(value.shape)}, by its config {wanted and tuple(wanted)}.",
                    remedy="Config and weights of this checkpoint do not belong together.",
                )
            sizes[name] = value.numel() * value.element_size()
        save_file(tensors, partial / f"model-{number + 1:05d}.safetensors", metadata={"format": "pt"})
        files.append(list(tensors))
    if expected:
        raise ConfigError(f"The checkpoint lacks {len(expected)} weights, {sorted(expected)[0]} first.")
    size = sum(sizes.values())
    if len(files) == 1:  # one file gets the plain name; several get an index, with the number of files in each name
        (partial / "model-00001.safetensors").rename(partial / "model.safetensors")
        return len(sizes), size
    weight_map: dict[str, str] = {}
    for number, held in enumerate(files, start=1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        (partial / f"model-{number:05d}.safetensors").rename(partial / name)
        weight_map |= dict.fromkeys(held, name)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (partial / "model.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return len(sizes), size


def expected_shapes(config: Any) -> dict[str, torch.Size]:
    """Names and shapes of the native weights, tied ones once; nothing is allocated."""
    from mmpr_pipeline.models.torchvision_cpu import install

    install()
    from transformers import InternVLForConditionalGeneration

    with torch.device("meta"):
        model = InternVLForConditionalGeneration(config)
    shapes = {name: value.shape for name, value in model.named_parameters()}
    if config.tie_word_embeddings:
        shapes.pop(_HEAD, None)
    return shapes


def _files(names: dict[str, Path], original: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
    """The converted tensors in dicts of at most about FILE_BYTES."""
    from safetensors import safe_open

    held: dict[str, Tensor] = {}
    size, heads = 0, heads_of(original)
    for file in sorted(set(names.values())):
        with safe_open(file, "pt") as opened:
            for original_name in opened.keys():  # noqa: SIM118 (not a dict)
                for name, value in convert_tensor(original_name, opened.get_tensor(original_name), heads):
                    if name in held:
                        raise TrainingError(f"Two weights of the checkpoint become {name}.")
                    held[name] = value
                    size += value.numel() * value.element_size()
                    if size >= FILE_BYTES:
                        yield held
                        held, size = {}, 0
    if held:
        yield held
