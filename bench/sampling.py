"""Sampling side by side: raw `vllm.LLM.generate`, ours through Ray, ray.data.llm, and a loop as the seed does it.

    python bench/sampling.py [--size nano|wide] [--questions 96] [--n 8] [--only "raw;ours"] [--repeats 1]

The same model, prompts, images, seeds and engine arguments for all, each contender in processes of its own, one after
the other, with the same thread settings. Each generates `n` rollouts of every question:

    raw            LLM.generate on all prompts at once, images decoded before: the ceiling, with vLLM's engine core in
                   this process
    raw, 2 procs   the same as vLLM starts by default: its engine core in a process of its own
    ours           a shard worker (a Ray task) with its questions in flight on an engine actor, as `mmpr build` does it
    ray.data.llm   build_processor on rows repeated n times, each with its seed, since it keeps one output of a request;
                   its optional stages are off (prompts are rendered beforehand), which is how it is fastest
    loop           batches of 8 questions, n calls each, the next batch when the last response has ended

Every engine is warm (it has answered a few other questions) when the clock starts; ray.data.llm's clock starts
when its engine is loaded. Rates count generated tokens. That the work was the same is checked by a digest over all
responses in order: equal digests are equal texts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CONTENDERS = ("raw", "raw, 2 procs", "ours", "ray.data.llm", "loop")
WARM = 4  # questions answered before the clock starts


@dataclass(frozen=True)
class Size:
    """A model and what it is asked."""

    max_tokens: int
    tiles: int
    """Most tiles of an image."""
    picture: tuple[int, int] | None
    """Pictures are enlarged to this many pixels; None leaves them at 112 x 112."""
    text: dict[str, int] | None = None
    """Sizes of a language model with random weights; None is the embedded checkpoint."""
    vision: dict[str, int] | None = None


SIZES = {
    "nano": Size(max_tokens=160, tiles=1, picture=None),
    "wide": Size(
        max_tokens=64,
        tiles=6,
        picture=(672, 448),
        text={"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8,
              "num_key_value_heads": 4, "head_dim": 64},
        vision={"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4},
    ),
}  # fmt: skip


def checkpoint(size: Size, directory: Path) -> str:
    """The model's directory, made where it has random weights; `nano` for the embedded one."""
    if size.text is None:
        return "nano"
    from transformers import AutoTokenizer, InternVLForConditionalGeneration

    from mmpr_pipeline.models.resolve import NANO_CHECKPOINT
    from mmpr_pipeline.nano.model import make_model, nano_processor

    tokenizer = AutoTokenizer.from_pretrained(NANO_CHECKPOINT)
    config = make_model(tokenizer, seed=0).config
    for part, fields in ((config.text_config, size.text), (config.vision_config, size.vision or {})):
        for name, value in fields.items():
            setattr(part, name, value)
    config.text_config.layer_types = ["full_attention"] * size.text["num_hidden_layers"]
    model = InternVLForConditionalGeneration(config)
    model.save_pretrained(directory)
    nano_processor(tokenizer).save_pretrained(directory)
    return str(directory)


def questions(size: Size, count: int) -> list[Any]:
    """The first questions of the generated sources, in turn, as a build reads them; some more for the warm-up."""
    from mmpr_pipeline.sources import open_source
    from mmpr_pipeline.sources.declaration.catalog import expand
    from mmpr_pipeline.sources.generated.scenes import NANO_SOURCES

    each = -(-(count + WARM) // len(NANO_SOURCES))
    read = []
    for path in expand(NANO_SOURCES):
        source = open_source(path)
        read.append(list(source.read(source.index(each), 0, each)))
    mixed = [question for row in zip(*read, strict=True) for question in row][: count + WARM]
    return [
        question.model_copy(update={"tiles": size.tiles, "images": _enlarged(question, size)}) for question in mixed
    ]


def _enlarged(question: Any, size: Size) -> Any:
    if size.picture is None:
        return question.images
    import hashlib
    import io

    from PIL import Image

    from mmpr_pipeline.core.records import Image as Stored

    images = []
    for image in question.images:
        file = io.BytesIO()
        Image.open(io.BytesIO(image.data)).convert("RGB").resize(size.picture, Image.Resampling.BICUBIC).save(
            file, "PNG"
        )
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        images.append(Stored(sha256=digest, data=data, format="png", width=size.picture[0], height=size.picture[1]))
    return tuple(images)


def run_one(name: str, args: argparse.Namespace, model: str) -> dict[str, Any] | None:
    """One contender in a process of its own; what it measured, or None where it failed."""
    command = [sys.executable, str(ROOT / "bench" / "sampling_peers.py"), name, model, args.size]
    command += [str(args.questions), str(args.n), str(args.threads)]
    began = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(args.threads, name))
    lines = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(f"{name} failed:\n{ran.stdout[-1500:]}\n{ran.stderr[-3000:]}", file=sys.stderr)
        return None
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    told = f"{result['seconds']:.1f} s of {time.monotonic() - began:.0f} s, {result['cpu']:.1f} cpu s"
    print(f"  {name}: {told}, {result['tokens']} tokens, {result['digest'][:12]}", file=sys.stderr, flush=True)
    return result


def environment(threads: int, name: str) -> dict[str, str]:
    """The same threads for all; vLLM's own process for its engine core where that is what is measured."""
    return {
        **os.environ,
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0" if name in ("raw", "ours", "loop") else "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # Ray gives its workers the lowest priority otherwise; on an idle machine no matter
        "PYTHONPATH": str(ROOT),
    }


def table(results: dict[str, list[dict[str, Any]]], args: argparse.Namespace) -> Iterable[str]:
    """The best run of each contender, against raw and against ours."""
    best = {name: min(runs, key=lambda run: run["seconds"]) for name, runs in results.items() if runs}
    rate = {name: run["tokens"] / run["seconds"] for name, run in best.items()}
    ceiling = max((rate[name] for name in rate if name.startswith("raw")), default=0.0)
    same = {run["digest"] for run in best.values()}
    yield f"{args.size}: {args.questions} questions x {args.n} rollouts; best of {args.repeats}"
    yield "| contender | tokens | seconds | tokens/s | cpu s | questions/s | of raw | ours is | responses |"
    yield "|---|---|---|---|---|---|---|---|---|"
    reference = next(iter(best.values()))["digest"] if best else ""
    for name, run in best.items():
        of_raw = f"{rate[name] / ceiling:.2f}" if ceiling else ""
        ahead = f"{rate['ours'] / rate[name]:.2f}x" if "ours" in rate else ""
        equal = "same" if run["digest"] == reference else f"{agreeing(run, best):.1%} same"
        yield (
            f"| {name} | {run['tokens']:,} | {run['seconds']:.1f} | {rate[name]:,.0f} | {run['cpu']:.1f} "
            f"| {args.questions / run['seconds']:.2f} | {of_raw} | {ahead} | {equal} |"
        )
    if len(same) == 1:
        yield "All responses are equal, text for text."


def agreeing(run: dict[str, Any], best: dict[str, dict[str, Any]]) -> float:
    """Share of responses that are the first contender's, text for text."""
    first = next(iter(best.values()))["each"]
    return sum(a == b for a, b in zip(run["each"], first, strict=True)) / len(first)


def main() -> None:
    """Run the contenders one after the other and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", default=";".join(CONTENDERS), help="contenders, separated by ;")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-sampling-"))
    results: dict[str, list[dict[str, Any]]] = {}
    try:
        model = checkpoint(SIZES[args.size], folder / args.size)
        for _ in range(args.repeats):
            for name in args.only.split(";"):
                result = run_one(name, args, model)
                results.setdefault(name, []).extend([result] if result else [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(table(results, args)))


if __name__ == "__main__":
    main()
