"""The trained model as a transformers checkpoint that vLLM serves: complete, tested, and put in place by one rename.

It is the base checkpoint, file by file, with trained tensors in the place of the base's: same names, same types, and
the bytes of the base where nothing was trained. A rank holds another's part of one tensor at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import PIL.Image
import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from mmpr_pipeline.core.errors import ConfigError, StoreError, TrainingError
from mmpr_pipeline.models.resolve import read_model_config
from mmpr_pipeline.training.policy.load import (
    ADAPTER,
    ModelFolder,
    Stored,
    add_adapters,
    empty_model,
    load_model,
    load_processor,
    plain_name,
    stored_weights,
)
from mmpr_pipeline.training.policy.nf4 import NF4Linear
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.settings import LoraSettings
from mmpr_pipeline.training.world import World

EXPORT_MARKER = "mmpr_export.json"
GENERATION = "generation_config.json"
BLOCK = 16 << 20  # bytes of a tensor that are looked at, rounded and written at a time
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
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
