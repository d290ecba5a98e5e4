"""What stands behind rollouts: vLLM's seeded sampling by itself, and whether a product's row depends on its neighbours.

No engine is started. The sampler is vLLM's own file, by itself: a kernel that draws Gumbel noise from (seed, position,
token), so that a token depends on neither row nor batch. Matrix products in half precision do depend on the batch: it
decides the order in which they are summed, which is why texts on GPUs differ from run to run.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from bench.gpu.kernels import Found
from bench.gpu.made import CUDA, DEVICE, HALF, SHAPES, Absent, clear, make_model, timed

CRITICAL = 61.1  # chi-square of 31 degrees of freedom, once in a thousand


def sampling(results: dict[str, Any], until: float) -> Found:
    """Tokens of a (seed, position) in any row and batch; draws against softmax; time; rows of products; the tower."""
    sampler = _sampler()
    figures: dict[str, Any] = {"ms": {}, "tower_ms": {}, "equal_rows": _rows()}

    def draw(logits: torch.Tensor, seeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        rows = len(logits)
        result: torch.Tensor = sampler.gumbel_sample(
            logits, torch.arange(rows, dtype=torch.int32, device=DEVICE), torch.ones(rows, device=DEVICE), seeds,
            positions, True, False,
        )  # fmt: skip
        return result

    rows = 256 if CUDA else 8
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, 92553 if CUDA else 2000, generator=generator).to(DEVICE)
    seeds = torch.randint(1 << 62, (rows,), generator=generator).to(DEVICE)
    positions = torch.randint(4096, (rows,), generator=generator).to(DEVICE)
    whole = draw(logits, seeds, positions)
    order = torch.randperm(rows, generator=generator).to(DEVICE)
    shuffled = draw(logits[order], seeds[order], positions[order])
    alone = torch.cat([draw(logits[i : i + 1], seeds[i : i + 1], positions[i : i + 1]) for i in range(4)])

    draws, words = (1 << 16 if CUDA else 1 << 9), 32
    small = torch.randn(words, generator=generator).to(DEVICE)
    many = torch.randint(1 << 62, (draws,), generator=generator).to(DEVICE)
    seen = draw(small.repeat(draws, 1), many, torch.full_like(many, 7))
    expected = draws * small.softmax(-1)
    figures["chi_square_31"] = float(((seen.bincount(minlength=words) - expected) ** 2 / expected).sum())
    for count in (256, 1024) if CUDA else ():
        for vocabulary in (92553, 151674):
            values = torch.randn(count, vocabulary, device=DEVICE)
            some = torch.randint(1 << 62, (count,), device=DEVICE)
            at = torch.arange(count, device=DEVICE)
            one = timed(lambda values=values, some=some, at=at: draw(values, some, at), 10)  # type: ignore[misc]
            figures["ms"][f"{count} x {vocabulary}"] = one * 1e3
    if CUDA:
        figures["ms"]["256 generators, as vLLM's first runner"] = _by_generators() * 1e3
        clear()
        model = make_model(replace(SHAPES["1B"], layers=1, vocabulary=1000), HALF)
        for tiles in (7, 13):
            pixels = torch.randn(tiles, 3, 448, 448, device=DEVICE, dtype=HALF)
            with torch.no_grad():
                seconds = timed(lambda pixels=pixels: model.model.get_image_features(pixel_values=pixels))  # type: ignore[misc]
            figures["tower_ms"][tiles] = seconds * 1e3
    claims = {
        "a token depends on seed and position alone": torch.equal(whole[order], shuffled)
        and torch.equal(whole[:4], alone),
        "draws follow softmax": figures["chi_square_31"] < CRITICAL,
    }
    if CUDA:
        claims["seeded sampling of 256 rows takes less than a millisecond"] = figures["ms"]["256 x 151674"] < 1
    return figures, claims


def _sampler() -> Any:
    """vLLM's file without vLLM: it wants nothing but Triton."""
    installed = importlib.util.find_spec("vllm")
    place = os.environ.get("MMPR_SAMPLER") or (
        installed and installed.origin and Path(installed.origin).parent / "v1/worker/gpu/sample/gumbel.py"
    )
    if not place or not Path(place).is_file():
        raise Absent("vLLM's gumbel.py: install vllm, or name the file by --sampler")
    if not CUDA and os.environ.get("TRITON_INTERPRET") != "1":
        raise Absent("a GPU; on a CPU Triton interprets under TRITON_INTERPRET=1")
    try:
        import triton
        import triton.language
    except ImportError as error:
        raise Absent(str(error)) from None
    stand_in, package = ModuleType("vllm.triton_utils"), ModuleType("vllm")
    stand_in.__dict__.update(triton=triton, tl=triton.language)
    kept = {name: sys.modules.get(name) for name in ("vllm", "vllm.triton_utils")}
    sys.modules |= {"vllm": package, "vllm.triton_utils": stand_in}
    try:
        spec = importlib.util.spec_from_file_location("vllm_gumbel", place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        for name, module_before in kept.items():
            if module_before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module_before
    return module


def _rows() -> dict[str, bool]:
    """Whether the first row of a product is the same, to the bit, in a batch of 1, 8 or 64 rows as in one of 256."""
    width = 4096 if CUDA else 256
    rows, weights = torch.randn(256, width, device=DEVICE).to(HALF), torch.randn(width, width, device=DEVICE).to(HALF)
    whole = rows @ weights
    return {str(count): bool(torch.equal((rows[:count] @ weights)[0], whole[0])) for count in (1, 8, 64)}


def _by_generators() -> float:
    """Seconds of one draw for 256 requests with a torch.Generator each."""
    logits = torch.randn(256, 151674, device=DEVICE)
    generators = [torch.Generator(DEVICE).manual_seed(i) for i in range(256)]

    def draw() -> torch.Tensor:
        noise = torch.empty_like(logits)
        for row, generator in enumerate(generators):
            noise[row].exponential_(generator=generator)
        return logits.softmax(-1).div_(noise).argmax(-1)

    return timed(draw, 5)
