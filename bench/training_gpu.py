"""One call on one GPU: does training compute what it must there, by which kernel, how fast, in how much memory?

    python bench/training_gpu.py [--out DIR] [--only peak,attention,...] [--seconds 480] [--sampler gumbel.py]

Needs torch, transformers and this checkout. What sections need besides comes in small wheels, which are unpacked beside
the checkout (`pip install --no-deps --target DIR ...`, then PYTHONPATH=DIR) where the machine has no registry:

    trainer, command   pydantic pydantic_core annotated-types typing-inspection (3 MB), pyarrow, typer, rich, accelerate
                       and psutil (0.7 MB)
    trl                trl datasets dill multiprocess xxhash (3 MB), accelerate; liger-kernel (0.4 MB) for its best rows
    sampling           one file of vLLM, v1/worker/gpu/sample/gumbel.py, where vLLM is not installed: --sampler

Weights are random. Sections, in this order; `peak` always runs:

    peak        products in half precision, rounded and with float32 results
    trainer     a model by the trainer's own parts: sharding, reference first, steps, checkpoint, resume, memory
    numerics    half precision against float32: log-probs, gradients, first loss
    speed       2B, 8B, 1B; one pair and four pairs a question; what is kept; beside concatenated rows
    attention   each kernel on layouts of real micro-batches: error, time, FLOP/s
    trl         the real TRL and ours on the same pairs, a 1B, online reference
    command     `mmpr train` and its export, a tiny model, beside the CPU's losses
    sampling    vLLM's seeded sampling and half-precision products: do tokens depend on the batch, what do seeds cost

Each section says what it claims and whether it holds; DIR/training_gpu.json is written after each one, so that a call
that ends early leaves what it measured. A section that needs what is not installed is left out by name. No section runs
longer than its share of the time, and one that breaks the GPU's context is followed by a new process. The status is 1
where a claim fails. On a CPU everything is tiny: a smoke test.
MFU: FLOPs that the step needs as it is laid out (6 a parameter and token, and attention), over time, over the peak.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch

from bench.gpu.made import CUDA, Absent, clear

SECTIONS = {  # by module: one that lacks a package leaves the others alone; and the most seconds
    "peak": ("kernels", 20),
    "trainer": ("trainer", 60),
    "numerics": ("numerics", 40),
    "speed": ("speed", 220),
    "attention": ("kernels", 90),
    "trl": ("beside_trl", 90),
    "command": ("trainer", 90),
    "sampling": ("sampling", 40),
}


class OutOfTime(BaseException):
    """A section's share of the time is over. No Exception: sections catch those of single rows."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--seconds", type=float, default=480.0 if CUDA else 1e9)  # a smoke test ends when it ends
    parser.add_argument("--sampler", type=Path, help="vLLM's gumbel.py, where vLLM is not installed")
    parser.add_argument("--go-on", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    if args.sampler:
        os.environ["MMPR_SAMPLER"] = str(args.sampler)
    file = args.out / "training_gpu.json"
    results: dict[str, Any] = json.loads(file.read_text()) if args.go_on else {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if CUDA else "CPU",
    }  # fmt: skip
    wanted = [name for name in SECTIONS if name in args.only.split(",") or (name == "peak" and not args.go_on)]
    signal.signal(signal.SIGALRM, _out_of_time)
    for number, name in enumerate(wanted):
        results[name] = _section(name, results, until)
        file.write_text(json.dumps(results, indent=1))
        print(f"== {name} ({results[name]['seconds']} s)\n{json.dumps(results[name]['figures'], indent=1)}")
        for claim, holds in results[name]["claims"].items():
            print(f"{'pass' if holds else 'FAIL'}  {name}: {claim}", flush=True)
        if not _sound() and (left := wanted[number + 1 :]):
            rest = ["--out", str(args.out), "--only", ",".join(left), "--seconds", str(until - time.monotonic())]
            os.execv(sys.executable, [sys.executable, __file__, *rest, "--go-on"])
    return int(any(not all(part["claims"].values()) for part in results.values() if isinstance(part, dict)))


def _section(name: str, results: dict[str, Any], until: float) -> dict[str, Any]:
    """Run a section within its share of the remaining time; gives its figures and claims."""
    module, most = SECTIONS[name]
    began = time.monotonic()
    share = min(float(most) if CUDA else 1e9, until - began)
    figures: dict[str, Any]
    if share < 1:
        return {"seconds": 0.0, "figures": {"left out": "no time left"}, "claims": {"there is time for it": False}}
    try:
        section = getattr(importlib.import_module(f"bench.gpu.{module}"), name)
        signal.setitimer(signal.ITIMER_REAL, share + 5 if CUDA else 0)
        figures, claims = section(results, began + share)
    except Absent as why:
        figures, claims = {"left out": str(why)}, {}
    except OutOfTime:
        figures, claims = {"failed": traceback.format_exc()[-1000:]}, {f"{most} s are enough": False}
    except Exception:  # the other sections still have something to say
        figures, claims = {"failed": traceback.format_exc()[-2000:]}, {"it runs": False}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if _sound():
        clear()
    return {"seconds": round(time.monotonic() - began, 1), "figures": figures, "claims": claims}


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def _sound() -> bool:
    """Whether the GPU's context still works: after an illegal access every call fails."""
    try:
        if CUDA:
            torch.cuda.synchronize()
    except Exception:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
