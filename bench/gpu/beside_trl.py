"""The real TRL beside ours, on the same card, model, pairs and optimiser: the rows of bench/training.py at a 1B."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import training
from bench.gpu.kernels import Found
from bench.gpu.made import CUDA, Absent, clear, peak_gib

STEPS = 4
ROWS: list[
    tuple[str, str, dict[str, Any]]
] = [  # name, whose, options; the first writes the micro-batches that ours read
    ("TRL, checkpointing", "trl", {"checkpointing": "full"}),
    ("ours, online, checkpointing", "ours", {"checkpointing": "full", "reference": "online"}),
    ("ours, stored, keeping products", "ours", {"checkpointing": "matmuls"}),
    ("ours, online, keeping products", "ours", {"checkpointing": "matmuls", "reference": "online"}),
    ("TRL, keeping everything", "trl", {}),
    ("TRL, Liger, checkpointing", "trl", {"checkpointing": "full", "liger": True}),
    ("TRL, all pairs in a batch, checkpointing", "trl", {"checkpointing": "full", "together": True}),
]


def trl(results: dict[str, Any], until: float) -> Found:
    """Pairs a second and memory of a step with its optimizer, one pair and four pairs a question."""
    missing = [name for name in ("trl", "datasets", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise Absent(f"{', '.join(missing)}: see the wheels of this script")
    shape = training.SHAPES["1B" if CUDA else "tiny"]
    figures: dict[str, Any] = {}
    claims: dict[str, bool] = {}
    for pairs in (1, 4) if CUDA else (2,):
        row: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as scratch:
            for name, whose, options in ROWS if CUDA else ROWS[:2]:
                options = dict(options)
                together = options.pop("together", False)
                if options.get("liger") and not (CUDA and importlib.util.find_spec("liger_kernel")):
                    row[name] = "left out: liger-kernel"
                    continue
                if (together and pairs == 1) or time.monotonic() > until:
                    row[name] = "left out" if together else "no time left"
                    continue
                if together:
                    options["batch"] = pairs
                folder = Path(scratch) / ("first" if not together else "together")
                folder.mkdir(exist_ok=True)
                clear()
                run = training.run_trl if whose == "trl" else training.run_ours
                try:
                    made = run(shape, pairs, STEPS, folder, half=CUDA, **options)
                except Exception as problem:
                    row[name] = f"{type(problem).__name__}: {str(problem)[:300]}"
                    continue
                seconds = training.median(made, 0)
                row[name] = {
                    "pairs_s": pairs / seconds,
                    "ms": seconds * 1e3,
                    "gib": peak_gib(),
                    "losses": made["losses"],
                }
        figures[f"1B, {pairs}+{pairs}"] = row
        measured = {name: r for name, r in row.items() if isinstance(r, dict)}
        theirs = {name: r for name, r in measured.items() if name.startswith("TRL")}
        ours = {name: r for name, r in measured.items() if name.startswith("ours, online")}
        claims[f"{pairs}+{pairs}: both run"] = bool(theirs and ours)
        if theirs and ours:
            first = next(iter(theirs.values()))["losses"][0]
            apart = max(abs(r["losses"][0] - first) for r in ours.values())
            claims[f"{pairs}+{pairs}: the first losses are equal"] = apart < (0.02 if CUDA else 1e-4)
            if CUDA:
                best = max(r["pairs_s"] for r in ours.values()) / max(r["pairs_s"] for r in theirs.values())
                claims[f"{pairs}+{pairs}: twice TRL's best pairs a second"] = best >= 2
    return figures, claims
