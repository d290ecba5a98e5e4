"""Memory of each rank while a model is loaded and exported: its shard, and at most one whole tensor.

    python bench/training_size.py [--ranks 4] [--layers 10] [--folder DIR]

A random InternVL with a Llama of `--layers` layers of width 2,048 (ten: 0.65B parameters, 1.3 GB in bfloat16) is
written as transformers writes it, two files of it. Then ranks (torchrun, gloo) build it without memory, shard it in
float32, read their slices, and export it. What counts is the most of their own memory (RssAnon) that each rank took
from before the model was built; pages of files that are mapped are the machine's, and given back when it needs them.
Below the table the same arithmetic for the authors' 76B.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MB = 1 << 20
LAYER_76B, VOCABULARY_76B, WIDTH_76B, ALL_76B = 0.856e9, 128_266, 8192, 76.3e9  # parameters


def make_folder(folder: Path, layers: int) -> None:
    """Config and weights of the model; nothing else is read."""
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig

    text = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=16, vocab_size=32000, tie_word_embeddings=False,
    )  # fmt: skip
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = InternVLConfig(vision_config=vision, text_config=text.to_dict(), tie_word_embeddings=False)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        InternVLForConditionalGeneration(config).save_pretrained(folder, max_shard_size="700MB")
    finally:
        torch.set_default_dtype(before)


@contextmanager
def most_taken() -> Iterator[list[int]]:
    """The most memory that this process took of its own meanwhile, in bytes."""

    def now() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])

    most, ended, before = [0], threading.Event(), now()

    def watch() -> None:
        while not ended.wait(0.002):
            most[0] = max(most[0], now() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def rank(folder: Path) -> None:
    """One of the ranks: DIR/RANK.json."""
    import torch
    from safetensors import safe_open

    from mmpr_pipeline.training.policy.load import empty_model, fill, shard, stored_weights
    from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
    from mmpr_pipeline.training.run.export import write_weights
    from mmpr_pipeline.training.world import connect

    torch.set_num_threads(1)
    with connect("cpu") as world:
        out = folder / "out"
        if world.is_main:
            out.mkdir()
        world.all_gather(None)
        began = time.monotonic()
        with most_taken() as loading:
            model = empty_model(folder / "model")
            stored = stored_weights(folder / "model", model)
            assert stored is not None
            sizes = [4 * p.numel() for p in model.parameters()]
            layer = sum(4 * p.numel() for p in model.model.language_model.layers[0].parameters())
            policy = shard(PrefixSharedPolicy(model), world, torch.float32, {})
            fill(policy, stored, world.device, 0)
        loaded = time.monotonic() - began
        with most_taken() as exporting:
            write_weights(policy, stored, out, 0.0, world)
        world.all_gather(None)
        if world.is_main:  # what was not trained is what was read
            for file in sorted(out.glob("*.safetensors")):
                with safe_open(file, "pt") as ours, safe_open(folder / "model" / file.name, "pt") as base:
                    assert all(torch.equal(ours.get_tensor(key), base.get_tensor(key)) for key in base.keys())  # noqa: SIM118
        found = {
            "model": sum(sizes), "shard": sum(sizes) // world.size, "layer": layer, "largest": max(sizes),
            "load": loading[0], "export": exporting[0], "load_s": loaded, "export_s": time.monotonic() - began - loaded,
        }  # fmt: skip
        (folder / f"{world.rank}.json").write_text(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank:
        rank(args.rank)
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        folder = Path(made)
        make_folder(folder / "model", args.layers)
        stored = sum(file.stat().st_size for file in (folder / "model").glob("*.safetensors"))
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(args.ranks)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *launch, __file__, "--rank", str(folder)], env=environment, check=True)
        found: list[dict[str, Any]] = [json.loads((folder / f"{n}.json").read_text()) for n in range(args.ranks)]
    first = found[0]
    print(
        f"{first['model'] / 4e9:.2f}B parameters, {stored / MB:,.0f} MiB stored; in float32 {first['model'] / MB:,.0f}"
        f" MiB, a shard {first['shard'] / MB:,.0f}, a layer {first['layer'] / MB:,.0f}, the largest tensor"
        f" {first['largest'] / MB:,.0f}"
    )
    print("| rank | peak of load | of export, above it | both | shard + one layer or tensor | load s | export s |")
    print("|---|---|---|---|---|---|---|")
    bound = first["shard"] + max(first["layer"], first["largest"])
    for number, each in enumerate(found):
        both = max(each["load"], each["shard"] + each["export"])
        cells = (each["load"], each["export"], both, bound)
        times = f"{each['load_s']:.1f} | {each['export_s']:.1f}"
        print(f"| {number} | {' | '.join(f'{cell / MB:,.0f}' for cell in cells)} | {times} |")
    for ranks in (8, 16, 64):
        weights, tensor = 4 * ALL_76B / ranks, 4 * VOCABULARY_76B * WIDTH_76B
        print(
            f"76B on {ranks} ranks: shard {weights / 1e9:.1f} GB + one layer {4 * LAYER_76B / 1e9:.1f} GB or the"
            f" largest tensor {tensor / 1e9:.1f} GB = {(weights + tensor) / 1e9:.1f} GB a rank"
        )
    return int(any(max(each["load"], each["shard"] + each["export"]) > 1.1 * bound for each in found))


if __name__ == "__main__":
    sys.exit(main())
