"""One call on one GPU: does training compute what it must there, by which kernel, how fast, in how much memory?

    python bench/training_gpu.py [--out DIR] [--only peak,attention,...] [--seconds 480]

Needs torch, transformers and this checkout; `trainer` and `command` also pydantic (with pydantic_core, annotated-types,
typing-inspection: 2.6 MB of wheels) and pyarrow. Weights are random. Sections, in this order; `peak` always runs:

    peak        products in half precision, rounded and with float32 results
    attention   each kernel on layouts of real micro-batches: error, time, FLOP/s
    trainer     a 1B by the trainer's own parts: sharding, reference first, steps, checkpoint, resume, memory
    command     `mmpr train` and its export, a tiny model, beside the CPU's losses
    numerics    half precision against float32: log-probs, gradients, first loss
    speed       2B, 8B, 1B; one pair and four pairs a question; what is kept; beside concatenated rows

Each section says what it claims and whether it holds; DIR/training_gpu.json is written after each one, so that a call
that ends early has told what it found. The status is 1 where a claim fails. On a CPU everything is tiny: a smoke test.
MFU: FLOPs that the step needs as it is laid out (6 a parameter and token, and attention), over time, over the peak.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch

from bench.gpu.made import CUDA, clear

SECTIONS = {  # by module: one that lacks a package leaves the others alone
    "peak": "kernels",
    "attention": "kernels",
    "trainer": "trainer",
    "command": "trainer",
    "numerics": "numerics",
    "speed": "speed",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--seconds", type=float, default=480.0)
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    wanted = ["peak", *(name for name in args.only.split(",") if name != "peak")]
    results: dict[str, Any] = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if CUDA else "CPU",
    }
    failed = False
    for name in wanted:
        if time.monotonic() > until:
            results[name] = {"failed": "no time left"}
            continue
        began = time.monotonic()
        try:
            more = {"until": until} if name == "speed" else {}
            section = getattr(importlib.import_module(f"bench.gpu.{SECTIONS[name]}"), name)
            figures, claims = section(results, **more)
        except Exception:  # the other sections still have something to tell
            figures, claims = {"failed": traceback.format_exc()[-2000:]}, {"it runs": False}
        clear()
        results[name] = {"seconds": round(time.monotonic() - began, 1), "figures": figures, "claims": claims}
        (args.out / "training_gpu.json").write_text(json.dumps(results, indent=1))
        print(f"== {name} ({results[name]['seconds']} s)\n{json.dumps(figures, indent=1)}")
        for claim, holds in claims.items():
            print(f"{'pass' if holds else 'FAIL'}  {name}: {claim}", flush=True)
            failed |= not holds
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
