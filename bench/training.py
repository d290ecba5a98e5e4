"""An MPO step against TRL's DPOTrainer: same model, data, order and optimiser; losses side by side, time, memory.

    python bench/training.py [--threads 2] [--steps 20] [--only one,four] [--measure time,memory] [--batched] [--tiny]

Each system runs in a process of its own, the same processes in the same order each time. TRL goes first and leaves
the batches that its own collator made; ours trains on those tokens and tiles, one group where TRL has separate pairs
of one question. Shapes as in the paper: an image of 7 tiles (1,792 tokens) and a prompt of about 100, responses of
about 300 tokens; widths are small, in the proportions of InternVL2-8B (vision 13% of the forward's cost, output layer
5% of the parameters). Scenarios:

    one     one pair of each question
    four    4 chosen and 4 rejected responses of each question, 4 pairs; in TRL 4 micro-batches of one pair
            (the setting in which its loss is the paper's), and, with --batched, also all 4 pairs in one batch

Times are of forward, backward and optimizer, without data loading; CPU seconds are of all threads, and say more where
the machine is shared. TRL scores its reference in every step; ours is shown with the reference stored (scored once
before; that pass's time is given) and scored in every step, too.

Memory is of two steps in a run of its own (nothing in it depends on how busy the machine is), in two measures. Tensors:
the most bytes handed out by torch's allocator at once, from before the model is made; weights, reference, gradients,
Adam's moments, tiles and activations of both alike, and nothing else (see training_memory.py for how TRL's
unused buffer is left out). Resident: growth of the process since all imports and the data were there, with malloc told
to give freed blocks back at once; of TRL it contains modules that its trainer loads late.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

RATE, BETA, VOCABULARY = 2e-5, 0.1, 1024
WARM_UP = 1  # steps left out of the times
FEW = 3  # steps of the runs whose losses are not compared
FRUGAL = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
SHAPES: dict[str, dict[str, Any]] = {
    "full": {"side": 448, "patch": 14, "image": (1344, 896), "tiles": 7, "words": 60, "answer": 110,
             "hidden": 512, "mlp": 1792, "layers": 3, "heads": 8, "kv": 2, "vision": 96, "vision_layers": 2},
    "1B": {"side": 448, "patch": 14, "image": (1344, 896), "tiles": 7, "words": 60, "answer": 110,
           "hidden": 896, "mlp": 4864, "layers": 24, "heads": 14, "kv": 2, "vision": 1024, "vision_layers": 24,
           "vision_heads": 16, "vocabulary": 151655},  # of bench/training_gpu.py
    "tiny": {"side": 56, "patch": 14, "image": (112, 56), "tiles": 3, "words": 10, "answer": 12,
             "hidden": 64, "mlp": 128, "layers": 2, "heads": 2, "kv": 1, "vision": 64, "vision_layers": 1},
}  # fmt: skip
SENTENCE = "the red circle is left of a blue square so there are three shapes in row two and answer five"
WORDS = SENTENCE.split()


def make_processor(shape: dict[str, Any]) -> Any:
    """The nano model's tokenizer with tiles of the shape's size."""
    from mmpr_pipeline.nano.model import make_tokenizer, nano_processor

    processor = nano_processor(make_tokenizer([SENTENCE] * 20))
    side = {"height": shape["side"], "width": shape["side"]}
    processor.image_processor.size = side
    processor.image_processor.max_patches = 6
    processor.image_seq_length = (shape["side"] // shape["patch"]) ** 2 // 4
    return processor


def make_model(shape: dict[str, Any], processor: Any, half: bool = False) -> Any:
    """The same random model each time it is asked for; with `half` in bfloat16, on the GPU."""
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config

    text = Qwen2Config(
        hidden_size=shape["hidden"], intermediate_size=shape["mlp"], num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"], num_key_value_heads=shape["kv"],
        vocab_size=shape.get("vocabulary", VOCABULARY),
        max_position_embeddings=8192, tie_word_embeddings=False,
    )  # fmt: skip
    vision = {
        "hidden_size": shape["vision"], "intermediate_size": 4 * shape["vision"],
        "num_hidden_layers": shape["vision_layers"],
        "num_attention_heads": shape.get("vision_heads", shape["vision"] // 32),
        "image_size": [shape["side"]] * 2, "patch_size": [shape["patch"]] * 2, "layer_scale_init_value": 1.0,
    }  # fmt: skip
    image_token = processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    config = InternVLConfig(
        vision_config=vision, text_config=text.to_dict(), image_token_id=image_token, tie_word_embeddings=False
    )
    torch.manual_seed(0)
    if not half:
        return InternVLForConditionalGeneration(config)
    with torch.device("cuda"):
        return InternVLForConditionalGeneration(config).to(torch.bfloat16)


def rows(shape: dict[str, Any], questions: int, pairs: int) -> list[dict[str, Any]]:
    """Pairs of each question side by side; every response once, of about the same length."""
    import random

    from PIL import Image

    made = []
    for question in range(questions):
        rng = random.Random(question)
        image = Image.frombytes("RGB", (32, 32), rng.randbytes(32 * 32 * 3)).resize(shape["image"])
        text = " ".join(rng.choices(WORDS, k=shape["words"]))
        for _ in range(pairs):
            chosen, rejected = (" ".join(rng.choices(WORDS, k=shape["answer"] + rng.randrange(9))) for _ in range(2))
            user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
            made.append(
                {
                    "images": [image],
                    "prompt": [user],
                    "chosen": [{"role": "assistant", "content": chosen}],
                    "rejected": [{"role": "assistant", "content": rejected}],
                }
            )
    return made


def peak_mb() -> float:
    """Most resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def now() -> tuple[float, float]:
    """Wall clock and CPU seconds of this process, when the GPU is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> tuple[float, float]:
    """What passed of both."""
    wall, cpu = now()
    return wall - start[0], cpu - start[1]


def run_trl(
    shape: dict[str, Any], pairs: int, steps: int, folder: Path, batch: int = 1, checkpointing: str = "none",
    half: bool = False, liger: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """DPOTrainer for `steps` optimizer steps of `pairs` pairs, `batch` in a micro-batch; saves its micro-batches."""
    import copy

    import torch
    from datasets import Dataset
    from torch.profiler import record_function
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    processor = make_processor(shape)
    numbers = count()
    times: list[tuple[float, float]] = []

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, *args: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.start = now()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(since(self.start))

    config = DPOConfig(
        output_dir=str(folder / "out"), loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0],
        beta=BETA, per_device_train_batch_size=batch, gradient_accumulation_steps=pairs // batch, max_steps=steps,
        learning_rate=RATE, lr_scheduler_type="constant", max_grad_norm=0.0, weight_decay=0.0,
        optim="adamw_torch_fused",
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=not half, max_length=None, bf16=half,
        use_liger_kernel=liger, gradient_checkpointing=checkpointing == "full", disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_list(rows(shape, steps, pairs))
    base = peak_mb()
    with record_function("set-up"):
        model = make_model(shape, processor, half)
        trainer = InOrder(
            model=model, ref_model=copy.deepcopy(model), args=config, train_dataset=data, processing_class=processor,
            callbacks=[Clock()],
        )  # fmt: skip
    collator = trainer.data_collator

    def kept(examples: Any) -> Any:
        made = collator(examples)  # before a step's clock starts
        torch.save(dict(made), folder / f"{next(numbers):05d}.pt")
        return made

    trainer.data_collator = kept
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"losses": losses, "times": times, "peak": peak_mb(), "base": base}


def our_batches(folder: Path, pairs: int, steps: int, half: bool = False) -> Iterator[Any]:
    """TRL's micro-batches of one pair, `pairs` of them together as one group; tiles in bfloat16 with `half`."""
    import torch
    from torch.profiler import record_function

    from mmpr_pipeline.training.data.batch import collate
    from mmpr_pipeline.training.data.groups import Group, IndexedPair

    for step in range(steps):
        responses, indexed = [], []
        for number in range(pairs):
            with record_function("batch"):
                raw = torch.load(folder / f"{step * pairs + number:05d}.pt")
            keep, completion = raw["attention_mask"].bool(), raw["completion_mask"].bool()
            prompt = tuple(raw["input_ids"][0][keep[0] & ~completion[0]].tolist())
            responses += [tuple(raw["input_ids"][i][keep[i] & completion[i]].tolist()) for i in range(2)]
            indexed.append(IndexedPair(f"{step}-{number}", 2 * number, 2 * number + 1))
        with record_function("batch"):
            tiles = raw["pixel_values"][: len(raw["pixel_values"]) // 2].clone()
            tiles = tiles.to(torch.bfloat16) if half else tiles
        del raw  # holds every tile twice
        yield collate([Group(str(step), prompt, (), tuple(responses), tuple(indexed))], [{"pixel_values": tiles}])


def run_ours(
    shape: dict[str, Any], pairs: int, steps: int, folder: Path, reference: str = "stored", checkpointing: str = "none",
    half: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The prefix-shared MPO step on TRL's batches; `reference` is `stored` or `online`."""
    import copy
    import functools

    import torch
    from torch.profiler import record_function

    from mmpr_pipeline.training.objective.loss import mpo, pair_log_probs
    from mmpr_pipeline.training.objective.reference import Reference, online_reference, reference_rows, stored_reference
    from mmpr_pipeline.training.policy.layers import set_checkpointing
    from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

    processor = make_processor(shape)
    base = peak_mb()
    with record_function("set-up"):
        policy = PrefixSharedPolicy(make_model(shape, processor, half).train())
        online = online_reference(PrefixSharedPolicy(copy.deepcopy(policy.bare))) if reference == "online" else None
    set_checkpointing(policy.bare, checkpointing)
    start = now()
    source: Reference
    if online is None:
        batches = our_batches(folder, pairs, steps, half)
        scored = {row.pair_id: row for each in batches for row in reference_rows(policy, each)}
        source = functools.partial(stored_reference, scored)
    else:
        source = online
    scoring = since(start)[0]
    optimizer = torch.optim.AdamW(policy.parameters(), RATE, weight_decay=0.0, fused=True)
    losses, times = [], []
    for batch in our_batches(folder, pairs, steps, half):
        start = now()
        loss = mpo(pair_log_probs(batch, policy(batch).responses, *source(batch))).total.mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(since(start))
        losses.append(loss.item())
    return {"losses": losses, "times": times, "peak": peak_mb(), "base": base, "scoring": scoring / steps}


def child(args: argparse.Namespace, frugal: bool = False, **run: Any) -> dict[str, Any]:
    """Run one system in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps(run)] + (["--tiny"] if args.tiny else [])
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "false"}
    Path(run["folder"]).mkdir(exist_ok=True)
    environment |= FRUGAL if frugal else {}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{run} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child_main(task: dict[str, Any], tiny: bool) -> None:
    import torch
    from training_memory import profiled

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    run: Callable[..., dict[str, Any]] = run_trl if task.pop("system") == "trl" else run_ours
    shape, folder, memory = SHAPES["tiny" if tiny else "full"], Path(task.pop("folder")), task.pop("memory")
    if not memory:
        return print(json.dumps(run(shape, folder=folder, **task)))
    result, tensors = profiled(lambda: run(shape, folder=folder, **task), VOCABULARY)
    return print(json.dumps({**result, "tensors": tensors}))


def measure(args: argparse.Namespace, steps: int, **run: Any) -> dict[str, Any]:
    """Times and losses of one run, memory of another; of both, what was asked for."""
    result: dict[str, Any] = {}
    if "time" in args.measure:
        result |= child(args, steps=steps, memory=False, **run)
    if "memory" in args.measure:
        seen = child(args, frugal=True, steps=2, memory=True, **run)
        result |= {"resident": seen["peak"] - seen["base"], "tensors": seen["tensors"]}
        result = {**seen, **result}
    return result


def median(result: dict[str, Any], which: int) -> float:
    """Seconds a step: 0 by the wall clock, 1 of CPU."""
    return statistics.median(step[which] for step in result["times"][WARM_UP:])


def show(title: str, results: dict[str, dict[str, Any]], measured: str) -> None:
    """One scenario's tables; each row is compared with the TRL row above it, and all with the first."""
    trl, stored = (next(r for label, r in results.items() if label.startswith(who)) for who in ("TRL", "ours"))
    print(f"\n## {title}\nstep     TRL      ours     difference")
    for step, (a, b) in enumerate(zip(trl["losses"], stored["losses"], strict=False)):
        print(f"{step:4}  {a:8.5f}  {b:8.5f}  {b - a:+.1e}")
    worst = max(abs(a - b) for a, b in zip(trl["losses"], stored["losses"], strict=False))
    print(f"largest difference {worst:.1e}  ({'equal' if worst < 5e-5 else 'NOT equal'} to 4 decimals)\n")
    if "time" in measured:
        print("| system | s/step | faster | CPU s/step | faster |\n|---|---|---|---|---|")
        for label, result in results.items():
            trl = result if label.startswith("TRL") else trl
            wall, cpu = median(result, 0), median(result, 1)
            faster = [f"{median(trl, 0) / wall:.2f}x", f"{cpu:.2f}", f"{median(trl, 1) / cpu:.2f}x"]
            print(f"| {label} | {wall:.2f} | {' | '.join(faster)} |")
        print(f"scoring the stored reference once: {stored['scoring']:.2f} s for the pairs of a step")
    if "memory" in measured:
        kinds = ["weights", "Adam", "tiles", "forward", "backward"]
        print(f"\n| system | tensors MB | of TRL's | {' | '.join(kinds)} | resident MB | of TRL's |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for label, result in results.items():
            trl = result if label.startswith("TRL") else trl
            tensors = result["tensors"]
            parts = [f"{tensors.get(kind, 0):.0f}" for kind in kinds]
            share = f"{tensors['total'] / trl['tensors']['total']:.2f} | {' | '.join(parts)}"
            resident = f"{result['resident']:.0f} | {result['resident'] / trl['resident']:.2f}"
            print(f"| {label} | {tensors['total']:.0f} | {share} | {resident} |")


ROWS: dict[str, dict[str, Any]] = {
    "TRL": {"system": "trl"},
    "ours, reference stored": {"system": "ours", "checkpointing": "matmuls"},
    "ours, reference online": {"system": "ours", "checkpointing": "matmuls", "reference": "online"},
    "ours, stored, keeping everything": {"system": "ours"},
    "TRL, checkpointing": {"system": "trl", "checkpointing": "full"},
    "ours, stored, checkpointing": {"system": "ours", "checkpointing": "full"},
    "ours, online, checkpointing": {"system": "ours", "checkpointing": "full", "reference": "online"},
}
COMPARED = ("TRL", "ours, reference stored")  # rows that run all steps


def scenario(name: str, args: argparse.Namespace, scratch: Path) -> None:
    """Run and show one scenario."""
    pairs = {"one": 1, "four": 4}[name]
    rows = {label: {"folder": str(scratch / "trl"), **row} for label, row in ROWS.items()}
    if args.batched and pairs > 1:
        rows[f"TRL, {pairs} pairs a batch"] = {"system": "trl", "batch": pairs, "folder": str(scratch / "batched")}
    results = {}
    for label, row in rows.items():
        steps = max(FEW, args.steps // pairs) if label in COMPARED else FEW
        results[label] = measure(args, steps, pairs=pairs, **row)
        print(f"{label}: done", file=sys.stderr, flush=True)
    show(f"{name}: {pairs} pairs of each question", results, args.measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps of scenario one; four takes a quarter")
    parser.add_argument("--only", default="one,four")
    parser.add_argument("--measure", default="time,memory")
    parser.add_argument("--batched", action="store_true", help="TRL with the pairs of a question in one batch, too")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes: does it run at all")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child_main(json.loads(args.child), args.tiny)
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            scenario(name, args, Path(scratch))
    return None


if __name__ == "__main__":
    main()
