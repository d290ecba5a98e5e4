"""The prefix-shared step against the concatenated one at real shapes: pairs/s, tokens/s, MFU, peak memory.

    python bench/training_gpu.py [--models 1B,2B,8B] [--groups 1,2,4,8] [--backend varlen] [--json FILE]
    python bench/training_gpu.py --models tiny --groups 1,2     (a smoke test that runs on a CPU)

Needs torch, transformers and this checkout, nothing else; weights are random. A step is forward and backward of the
MPO loss in bf16 (no optimizer, so that 8B fits one device). Prompt: 7 tiles of 448 px (1,792 tokens) and 108 tokens of
text; responses of 300 tokens; a group n+n has n chosen and n rejected responses in n pairs.

    shared         one row: image and prompt once, each response once
    concatenated   as preference trainers do it: for each pair two rows of prompt and response, the tiles encoded for
                   each row; given the same chunked output layer over response positions as ours

MFU: FLOPs that the step needs as it is laid out (6 a parameter and token, and attention; recomputation by
checkpointing is not counted), over time, over the peak of a large matmul measured first.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.data.groups import Group, IndexedPair
from mmpr_pipeline.training.objective.loss import PairLogProbs, mpo
from mmpr_pipeline.training.objective.pair_scores import pair_log_probs
from mmpr_pipeline.training.policy.head import token_log_probs
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

# text: hidden, mlp, layers, heads, key heads, vocabulary; vision: hidden, layers, side; then tiles, text, response
MODELS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "1B": ((896, 4864, 24, 14, 2, 151655), (1024, 24, 448), (7, 108, 300)),
    "2B": ((2048, 8192, 24, 16, 8, 92553), (1024, 24, 448), (7, 108, 300)),
    "8B": ((4096, 14336, 32, 32, 8, 92553), (1024, 24, 448), (7, 108, 300)),
    "tiny": ((128, 256, 2, 4, 2, 500), (64, 2, 56), (3, 10, 12)),
}
PATCH = 14


def make_model(name: str, device: torch.device, dtype: torch.dtype) -> Any:
    from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config

    (hidden, mlp, layers, heads, kv, vocabulary), (width, depth, side), _ = MODELS[name]
    text = Qwen2Config(
        hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv, vocab_size=vocabulary, max_position_embeddings=8192, tie_word_embeddings=False,
    )  # fmt: skip
    vision = {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": depth, "image_size": [side, side],
        "num_attention_heads": max(1, width // 64), "patch_size": [PATCH, PATCH],
    }  # fmt: skip
    config = InternVLConfig(
        vision_config=vision, text_config=text.to_dict(), image_token_id=vocabulary - 1, tie_word_embeddings=False
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return InternVLForConditionalGeneration(config).train()
    finally:
        torch.set_default_dtype(before)


def make_group(name: str, pairs: int) -> tuple[Group, dict[str, Tensor]]:
    """One question with `pairs` chosen and as many rejected responses of random tokens."""
    text, (_, _, side), (tiles, words, answer) = MODELS[name]
    rng, vocabulary = random.Random(pairs), text[-1]
    image = (vocabulary - 1,) * (tiles * (side // PATCH) ** 2 // 4)
    prompt = image + tuple(rng.randrange(vocabulary - 1) for _ in range(words))
    responses = tuple(tuple(rng.randrange(vocabulary - 1) for _ in range(answer)) for _ in range(2 * pairs))
    indexed = tuple(IndexedPair(str(i), 2 * i, 2 * i + 1) for i in range(pairs))
    pixels = torch.randn(tiles, 3, side, side, generator=torch.Generator().manual_seed(pairs))
    return Group("q", prompt, (), responses, indexed), {"pixel_values": pixels}


def shared_step(policy: PrefixSharedPolicy, group: Group, images: dict[str, Tensor], backward: bool = True) -> Tensor:
    """Forward and backward in one row; log-probs of the responses."""
    batch = collate([group], [images])
    scores = policy(batch).responses
    if backward:
        reference = scores.detach()
        mpo(pair_log_probs(batch, scores, reference[batch.chosen], reference[batch.rejected])).total.mean().backward()
    return scores.detach()


def plain_step(model: Any, group: Group, images: dict[str, Tensor], backward: bool = True) -> Tensor:
    """The same pair by pair: two rows of prompt and response, tiles twice, gradients added up."""
    device, out = model.lm_head.weight.device, []
    tiles = images["pixel_values"].to(device)
    for pair in group.pairs:
        two = [group.responses[pair.chosen], group.responses[pair.rejected]]  # of equal length: no padding needed
        ids = torch.tensor([group.prompt + response for response in two], device=device)
        hidden = model.model(input_ids=ids, pixel_values=torch.cat([tiles, tiles]), use_cache=False).last_hidden_state
        scored = hidden[:, len(group.prompt) - 1 : -1].flatten(0, 1)
        targets = ids[:, len(group.prompt) :].flatten()
        chosen, rejected = token_log_probs(scored, model.lm_head.weight, targets).view(2, -1).sum(1).split(1)
        lengths = torch.full_like(chosen, len(two[0]))
        if backward:
            pairs = PairLogProbs(chosen, rejected, chosen.detach(), rejected.detach(), lengths, lengths)
            (mpo(pairs).total.sum() / len(group.pairs)).backward()
        out += [chosen.detach(), rejected.detach()]
    return torch.cat(out)


def flops(name: str, model: Any, pairs: int, shared: bool) -> float:
    """FLOPs of forward and backward as laid out."""
    (hidden, _, layers, _, _, vocabulary), (width, depth, side), (tiles, words, answer) = MODELS[name]
    prompt = tiles * (side // PATCH) ** 2 // 4 + words
    responses = 2 * pairs
    rows = 1 if shared else responses
    body = sum(p.numel() for p in model.model.language_model.layers.parameters())
    vision = sum(p.numel() for p in model.model.vision_tower.parameters())
    patches = (side // PATCH) ** 2 + 1
    matmuls = body * (rows * prompt + responses * answer) + vocabulary * hidden * responses * answer
    matmuls += rows * vision * tiles * patches
    seen = rows * prompt**2 / 2 + responses * answer * (prompt + answer / 2)
    attention = 2 * layers * hidden * seen + rows * 2 * depth * width * tiles * patches**2
    return 6.0 * (matmuls + attention)


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square matmul."""
    size = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, device, 20)


def timed(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Seconds a call, after two to warm up; the best of `repeats`, so that a busy neighbour does not count."""
    run(), run()
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    run: Callable[[], Any], name: str, model: Any, pairs: int, shared: bool, peak: float, args: argparse.Namespace
) -> dict[str, Any]:
    """Time and memory of one kind of step, or why it did not run."""
    device = model.lm_head.weight.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        seconds = timed(run, device, args.repeats)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    finally:
        model.zero_grad(set_to_none=True)
    _, (_, _, side), (tiles, words, answer) = MODELS[name]
    prompt = tiles * (side // PATCH) ** 2 // 4 + words
    return {
        "seconds": seconds,
        "pairs_s": pairs / seconds,
        "tokens_s": 2 * pairs * (prompt + answer) / seconds,  # of the flat data set, the same for both
        "mfu": flops(name, model, pairs, shared) / seconds / peak,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan"),
    }


def bench(name: str, args: argparse.Namespace, device: torch.device, dtype: torch.dtype, peak: float) -> list[dict]:
    """All group sizes of one model."""
    model = make_model(name, device, dtype)
    if not args.no_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = PrefixSharedPolicy(model, backend=args.backend)
    return [bench_group(name, int(n), policy, args, peak) for n in args.groups.split(",")]


def bench_group(
    name: str, pairs: int, policy: PrefixSharedPolicy, args: argparse.Namespace, peak: float
) -> dict[str, Any]:
    """One group size: do both agree, and how fast is each."""
    model = policy.bare
    group, images = make_group(name, pairs)
    with torch.no_grad():
        ours = shared_step(policy, group, images, backward=False)
        policy.release()
        plain = plain_step(model, group, images, backward=False)
    apart = float(((ours - plain).abs() / len(group.responses[0])).max())
    concatenated = measure(partial(plain_step, model, group, images), name, model, pairs, False, peak, args)
    policy.take()
    shared = measure(partial(shared_step, policy, group, images), name, model, pairs, True, peak, args)
    result = {"model": name, "group": f"{pairs}+{pairs}", "backend": policy.backend, "apart": apart}
    result |= {"shared": shared, "concatenated": concatenated}
    show(result)
    return result


def show(result: dict[str, Any]) -> None:
    for kind in ("concatenated", "shared"):
        line = result[kind]
        head = f"{result['model']:>5} {result['group']:>5} {kind:13}"
        if "failed" in line:
            print(f"{head} {line['failed']}")
            continue
        print(
            f"{head} {line['seconds'] * 1e3:9.1f} ms {line['pairs_s']:8.2f} pairs/s {line['tokens_s']:9.0f} tokens/s"
            f"  MFU {line['mfu']:5.1%}  {line['peak_gib']:6.1f} GiB"
        )
    if all("seconds" in result[kind] for kind in ("concatenated", "shared")):
        faster = result["concatenated"]["seconds"] / result["shared"]["seconds"]
        print(
            f"            {faster:.2f}x faster; log-probs a token apart by {result['apart']:.1e}; {result['backend']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="1B,2B,8B")
    parser.add_argument("--groups", default="1,2,4,8")
    parser.add_argument("--backend", choices=["sdpa", "varlen", "flex"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    peak = matmul_peak(device, dtype)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{where}, {dtype}, matmul peak {peak / 1e12:.1f} TFLOP/s, torch {torch.__version__}")
    results = [line for name in args.models.split(",") for line in bench(name, args, device, dtype, peak)]
    if args.json:
        summary = {"device": where, "torch": torch.__version__, "peak_flops": peak, "results": results}
        Path(args.json).write_text(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
