"""Fused norms and MLPs: what is replaced, what is left, and that a CPU's results are not touched."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma3TextConfig, LlamaConfig, LlamaModel
from transformers.models.gemma3.modeling_gemma3 import Gemma3TextModel

from mmpr_pipeline.training.policy import layers as fused
from mmpr_pipeline.training.policy.layers import (
    FusedKernels,
    FusedMLP,
    FusedNorm,
    fuse,
    fuse_by,
    rms_norm,
    silu_times,
    tile,
)

CPU = torch.device("cpu")
PLAIN = FusedKernels("plain", rms_norm, silu_times)


def llama() -> nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=50
    )
    return LlamaModel(config)


def results(model: nn.Module) -> list[Tensor]:
    model.zero_grad()
    out = model(torch.arange(40).view(1, 40)).last_hidden_state
    out.square().sum().backward()
    return [out.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("tiled", [False, True])
def test_fused_layers_compute_what_they_did(tiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmpr_pipeline.training.policy.layers.SMALLEST", 16)
    model = llama()
    before = results(model)
    assert fuse_by(PLAIN, model, CPU, torch.float32) == ""
    counts = [sum(isinstance(m, kind) for m in model.modules()) for kind in (FusedNorm, FusedMLP)]
    assert counts == [5, 2]
    tile(model, tiled)
    for own, after in zip(before, results(model), strict=True):
        torch.testing.assert_close(after, own, rtol=1e-5, atol=1e-6)
    tile(model, False)
    assert sum(isinstance(m, FusedMLP) for m in model.modules()) == 2
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in llama().named_parameters()]


def test_layers_without_memory_are_fused_too() -> None:
    with torch.device("meta"):
        model = llama()
    assert fuse_by(PLAIN, model, CPU, torch.float32) == ""
    assert all(p.is_meta for p in model.parameters())


def test_a_norm_of_another_formula_stays() -> None:
    """Gemma's norm multiplies by 1 + weight, and its MLP has another activation."""
    config = Gemma3TextConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, head_dim=16, vocab_size=50
    )
    model = Gemma3TextModel(config)
    assert fuse_by(PLAIN, model, CPU, torch.float32) == "no layer is of a known kind"
    assert not any(isinstance(m, FusedNorm | FusedMLP) for m in model.modules())


def test_a_kernel_that_fails_leaves_every_layer_as_it_was() -> None:
    def broken(gate: Tensor, up: Tensor) -> Tensor:
        raise RuntimeError("no kernel image")

    model = llama()
    assert "no kernel image" in fuse_by(FusedKernels("broken", rms_norm, broken), model, CPU, torch.float32)
    assert not any(isinstance(m, FusedNorm | FusedMLP) for m in model.modules())


def test_on_a_cpu_layers_are_eager_and_the_same() -> None:
    model = llama()
    before = results(model)
    assert fuse(model, CPU, torch.float32) == "eager"
    assert all(torch.equal(own, after) for own, after in zip(before, results(model), strict=True))


def test_where_no_kernel_works_on_a_gpu_layers_stay_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Liger first, then torch.compile; each refusal is said."""
    tried: list[str] = []

    def refuse(kernels: FusedKernels, *others: object) -> str:
        tried.append(kernels.name)
        return "not here"

    monkeypatch.setattr(fused, "fuse_by", refuse)
    monkeypatch.setattr(fused, "liger_kernels", lambda: FusedKernels("Liger", rms_norm, silu_times))
    heard: list[str] = []
    assert fuse(llama(), torch.device("cuda"), torch.bfloat16, heard.append) == "eager"
    assert tried == ["Liger", "compiled"]
    assert heard[0] == "fused layers: Liger cannot be used here: not here"


def test_liger_is_called_as_it_declares_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures of liger_kernel 0.6 to 0.8; its kernels run on GPUs only."""

    class LigerRMSNormFunction:
        @staticmethod
        def apply(X: Tensor, W: Tensor, eps: float, offset: float, casting_mode: str, in_place: bool) -> Tensor:
            assert (offset, casting_mode, in_place) == (0.0, "llama", False)
            return rms_norm(X, W, eps)

    class LigerSiLUMulFunction:
        @staticmethod
        def apply(a: Tensor, b: Tensor) -> Tensor:
            return silu_times(a, b)

    made = {name: ModuleType(name) for name in ("liger_kernel", "liger_kernel.ops", "liger_kernel.ops.rms_norm")}
    made["liger_kernel.ops.swiglu"] = ModuleType("liger_kernel.ops.swiglu")
    made["liger_kernel.ops.rms_norm"].LigerRMSNormFunction = LigerRMSNormFunction  # type: ignore[attr-defined]
    made["liger_kernel.ops.swiglu"].LigerSiLUMulFunction = LigerSiLUMulFunction  # type: ignore[attr-defined]
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    kernels = fused.liger_kernels.__wrapped__()
    assert kernels is not None
    assert fuse_by(kernels, llama(), CPU, torch.float32) == ""


@pytest.mark.slow
def test_compiled_kernels_are_traced_whole_and_for_all_lengths() -> None:
    """By torch's tracer alone; code for a GPU is made on GPUs."""
    made = [torch.compile(f, dynamic=True, fullgraph=True, backend="aot_eager") for f in (rms_norm, silu_times)]
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=False):
        assert fuse_by(FusedKernels("traced", *made), llama(), CPU, torch.float32) == ""
