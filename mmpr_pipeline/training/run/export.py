"""The trained model as a transformers checkpoint that vLLM serves: complete, tested, and put in place by one rename."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import PIL.Image
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from mmpr_pipeline.core.errors import ConfigError, StoreError, TrainingError
from mmpr_pipeline.models.resolve import read_model_config
from mmpr_pipeline.training.policy.load import ModelFolder, add_adapters, empty_model, load_model, load_processor
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.policy.weights import Stored, stored_weights, write_weights
from mmpr_pipeline.training.settings import LoraSettings
from mmpr_pipeline.training.world import World

EXPORT_MARKER = "mmpr_export.json"
GENERATION = "generation_config.json"
WHOLE = 4 << 30
"""Bytes of weights up to which the self-test loads an export and lets it answer; above, no process could be sure to
hold it, and every tensor was looked at while it was written."""


def check_target(out: Path) -> None:
    """Raise ConfigError, before training, where the export would land on something else."""
    if out.exists() and not (out / EXPORT_MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and was not exported by mmpr.", remedy="Give --export a new directory.")


def export_model(
    policy: PrefixSharedPolicy, base: ModelFolder, out: Path, lora: LoraSettings | None, world: World,
    stored: Stored | None = None,
) -> Path:  # fmt: skip
    """Write the policy to `out`, with the base model's processor; adapters are merged. On every rank.

    The weights have the base model's stored type, and where `stored` says how they lie there, its names and files;
    then no rank holds more than its shard and a part of one tensor. Raises TrainingError where the self-test fails;
    then nothing is left at `out`, or what was there before.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (out.parent / f".unfinished-{out.name}{ending}" for ending in ("", "-old"))

    def clear() -> None:
        """Remove what this or a killed export left; one that ended between the two renames gets its folder back."""
        if old.exists() and not out.exists():
            old.rename(out)
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)

    def begin() -> None:
        clear()
        check_target(out)
        partial.mkdir()
        for file in base.path.iterdir() if stored else ():  # config, tokenizer, processor, index of the weight files
            if file.is_file() and file.suffix in (".json", ".jinja", ".txt", ".model"):
                shutil.copyfile(file, partial / file.name)

    def put_in_place() -> None:
        (partial / EXPORT_MARKER).write_text("{}\n")
        self_test(partial)
        if out.exists():
            out.rename(old)
        partial.rename(out)

    try:
        world.on_main(begin)
        if stored:
            write_weights(policy, stored, partial, lora.alpha / lora.rank if lora else 0.0, world)
        else:
            options = StateDictOptions(full_state_dict=True, cpu_offload=True)
            weights = get_model_state_dict(policy, options=options)
            world.on_main(lambda: _write_whole(weights, base, partial, lora))
        world.on_main(put_in_place)
    except OSError as error:
        raise StoreError(
            f"The export cannot be written to {out}: {error.strerror or error}.",
            remedy="Free some space or give another --export; the same command with --resume exports again.",
        ) from error
    finally:
        if world.is_main:
            clear()
    return out


def _write_whole(
    weights: Mapping[str, torch.Tensor], base: ModelFolder, partial: Path, lora: LoraSettings | None
) -> None:
    """Through a whole model, for those that transformers stores otherwise than it holds them."""
    model = load_model(base.path)
    wrapped = add_adapters(model, lora, 0) if lora else model
    wrapped.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()}, strict=True)
    if lora:
        wrapped = wrapped.merge_and_unload()
    wrapped.to(_stored_type(base.path)).save_pretrained(partial)
    load_processor(base.path).save_pretrained(partial)
    if (base.path / GENERATION).is_file():
        shutil.copyfile(base.path / GENERATION, partial / GENERATION)


def _stored_type(folder: Path) -> torch.dtype:
    config = read_model_config(folder / "config.json")
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return getattr(torch, str(name).removeprefix("torch."), torch.float32)


@torch.no_grad()
def self_test(folder: Path, whole: int = WHOLE) -> None:
    """Use an exported checkpoint as anyone would: its processor reads an image and a question; all weights of its
    architecture are there, in their shapes. Up to `whole` bytes it is loaded, too: weights finite, no matrix all zero,
    the question answered with finite scores. Raises TrainingError, and ConfigError where a weight is missing.
    """
    processor = load_processor(folder)
    image = PIL.Image.new("RGB", (64, 64), "white")
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    text = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=[[image]], return_tensors="pt", add_special_tokens=False)
    stored_weights(folder, empty_model(folder))
    if sum(file.stat().st_size for file in folder.glob("*.safetensors")) > whole:
        return
    model = load_model(folder, _stored_type(folder)).eval()
    wrong = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    empty = [n for n, v in model.named_parameters() if v.ndim > 1 and not bool(v.any()) and "embeddings" not in n]
    if wrong or empty:
        raise TrainingError(
            f"The exported weights are not usable: {[*wrong, *empty][0]} is {'not finite' if wrong else 'all zero'}.",
            remedy="Export from an earlier checkpoint; look at the metrics.",
        )
    inputs = {n: v.to(model.dtype) if v.is_floating_point() else v for n, v in inputs.items()}
    inputs.pop("token_type_ids", None)
    made = model.generate(**inputs, max_new_tokens=8, do_sample=False, output_scores=True, return_dict_in_generate=True)
    finite = all(bool(torch.isfinite(scores).all()) for scores in made.scores)
    if made.sequences.shape[1] <= inputs["input_ids"].shape[1] or not finite:
        raise TrainingError("The exported model does not generate.", remedy="Please report this with the run.json.")
