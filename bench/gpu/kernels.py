"""What the device can do at most, and which attention kernel comes nearest to it on layouts of real micro-batches."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch

from bench.gpu.made import CUDA, DEVICE, HALF, SHAPES, clear, make_groups, peak_gib, timed
from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.policy.kernels import product, shared_attention

Found = tuple[dict[str, Any], dict[str, bool]]  # figures, and what was claimed of them


def peak(results: dict[str, Any], until: float) -> Found:
    """Large square products in half precision, rounded and with float32 results; a copy."""
    size = 8192 if CUDA else 256
    a, b = (torch.randn(size, size, device=DEVICE).to(HALF) for _ in range(2))
    block = torch.empty(1 << (30 if CUDA else 20), dtype=torch.uint8, device=DEVICE)
    flops = 2 * size**3
    figures = {
        "tflops": flops / timed(lambda: a @ b, 20) / 1e12,
        "tflops_float32_out": flops / timed(lambda: product(a, b), 20) / 1e12,
        "copy_tb_s": 2 * block.numel() / timed(block.clone, 10) / 1e12,
    }
    claims = {"float32 results cost less than a tenth": figures["tflops_float32_out"] > 0.9 * figures["tflops"]}
    if CUDA and "H100" in torch.cuda.get_device_name():
        claims["an H100 gives 700 TFLOP/s"] = figures["tflops"] > 700
    return figures, claims if CUDA else {}


def _both(leaves: Any, layout: Any, grad: Any) -> Any:
    """Forward and backward."""
    for leaf in leaves:
        leaf.grad = None
    out, _ = shared_attention(None, *leaves, None, shared=layout)
    out.backward(grad)
    return out.detach()


def attention(results: dict[str, Any], until: float) -> Found:
    """Each kernel: its error against float32, forward and backward time, FLOP/s of the work that is needed."""
    shape = SHAPES["8B" if CUDA else "tiny"]
    figures: dict[str, Any] = {}
    claims: dict[str, bool] = {}
    top = results["peak"]["figures"]["tflops"]
    for heads, key_heads, width in [(32, 8, 128), (14, 2, 64)] if CUDA else [(4, 2, 32)]:
        for pairs, count in [(1, 6), (4, 4), (8, 2)] if CUDA else [(1, 2), (4, 1)]:
            groups, _ = make_groups(shape, count, pairs)
            batch = collate(groups, [{}] * count)
            made = [
                torch.randn(1, h, batch.tokens, width, device=DEVICE).to(HALF) for h in (heads, key_heads, key_heads)
            ]
            spans = zip(batch.layout.queries, batch.layout.keys, strict=True)
            needed = sum((e - s) * (sum(b - a for a, b in keys) - (e - s) / 2) for (s, e), keys in spans)
            flops = 3.5 * 4.0 * heads * width * needed
            exact, _ = shared_attention(None, *(t.float() for t in made), None, shared=batch.layout.to(DEVICE, "sdpa"))
            grad = torch.randn_like(exact).to(HALF)
            row: dict[str, Any] = {"tokens": batch.tokens, "keys_gathered": len(batch.layout.key_index)}
            for backend in ("varlen", "flex", "sdpa") if CUDA else ("sdpa",):
                layout = batch.layout.to(DEVICE, backend)  # type: ignore[arg-type]
                leaves = [t.clone().requires_grad_() for t in made]

                both = partial(_both, leaves, layout, grad)
                if time.monotonic() > until:
                    row[backend] = "no time left"
                    continue
                try:
                    clear()
                    began = time.monotonic()
                    error = float((both().float() - exact).abs().max() / exact.abs().max())
                    first, seconds = time.monotonic() - began, timed(both)
                except Exception as problem:  # a kernel that this device does not run is a result, too
                    row[backend] = f"{type(problem).__name__}: {str(problem)[:200]}"
                    continue
                tflops = flops / seconds / 1e12
                row[backend] = {
                    "error": error, "first_s": first, "ms": seconds * 1e3, "tflops": tflops, "of_peak": tflops / top,
                    "gib": peak_gib(),
                }  # fmt: skip
                claims[f"{backend} is right"] = claims.get(f"{backend} is right", True) and error < 0.02
            figures[f"{heads}/{key_heads}x{width}, {count} of {pairs}+{pairs}"] = row
    if CUDA:
        best = [max(r["of_peak"] for r in row.values() if isinstance(r, dict)) for row in figures.values()]
        claims["the best kernel has a third of the peak at heads of 128"] = min(best[:3]) > 0.33
    return figures, claims
