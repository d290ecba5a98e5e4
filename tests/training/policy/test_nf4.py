from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from mmpr_pipeline.training.policy.load import load_model
from mmpr_pipeline.training.policy.nf4 import LEVELS, NF4Linear, pack_nf4, unpack_nf4
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import read_lines
from tests.training import made


def test_levels_come_back_exactly_and_others_as_the_nearest() -> None:
    block = torch.tensor([*LEVELS, *([0.3] * 48)]) * 4
    packed, scales = pack_nf4(block)
    assert (packed.shape, scales.shape) == ((32,), (1,))
    found = unpack_nf4(packed, scales, torch.float32)
    torch.testing.assert_close(found[:16], block[:16])
    torch.testing.assert_close(found[16:], torch.full((48,), 4 * 0.33791524171829224))


def test_normal_weights_lose_a_tenth_and_zeros_nothing() -> None:
    """The published error of NF4 on normal weights: about 9% of their norm."""
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    found = unpack_nf4(*pack_nf4(weight), torch.float32).view(256, 256)
    assert 0.05 < float((found - weight).norm() / weight.norm()) < 0.11
    assert not unpack_nf4(*pack_nf4(torch.zeros(64)), torch.float32).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_and_backward_are_those_of_the_unpacked_weight(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(128, 64)
    layer = NF4Linear(plain)
    layer.load(plain.weight)
    weight = unpack_nf4(layer.packed, layer.scales, dtype).view(64, 128)
    hidden = torch.randn(3, 5, 128, dtype=dtype, requires_grad=True)
    out = layer(hidden)
    torch.testing.assert_close(out, hidden @ weight.T + plain.bias.to(dtype))
    out.square().sum().backward()
    expected = torch.autograd.grad((hidden @ weight.T + plain.bias.to(dtype)).square().sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected)


def test_training_over_packed_weights_learns_in_less_memory_and_exports(tmp_path: Path) -> None:
    """Resumed in between; what the adapters left alone is exported as it was."""
    from mmpr_pipeline.training.run import preparation

    model, data = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data")
    resting: dict[str, int] = {}

    def run(name: str, lora: dict[str, object]) -> list[float]:
        config = made.settings(
            model, data, tmp_path / name, lora=lora, epochs=2, export=str(tmp_path / f"{name}-out"), lr=3e-2
        )
        right = preparation.check_resting

        def spied(policy: preparation.PrefixSharedPolicy, *more: object) -> int:
            resting[name] = right(policy, 1, False, math.inf)
            assert any(isinstance(m, NF4Linear) for m in policy.modules()) == ("quantise" in lora)
            return right(policy, *more)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(preparation, "check_resting", spied)
            train(config.model_copy(update={"max_steps": 4, "export": None}))
            train(config, resume=True)
        return [line["loss"] for line in read_lines(tmp_path / name / "metrics.jsonl")]

    packed, plain = run("packed", {"rank": 8, "quantise": "nf4"}), run("plain", {"rank": 8})
    assert packed[0] == pytest.approx(plain[0], rel=0.2)
    assert packed[-1] < packed[0] - 0.5
    below = sum(
        m.weight.numel()
        for n, m in load_model(model).named_modules()
        if isinstance(m, nn.Linear) and ".language_model." in f".{n}." and "lm_head" not in n
    )
    assert resting["plain"] - resting["packed"] == pytest.approx(below * (4 - 4.25 / 8), rel=0.01)
    before, after = (dict(load_model(folder).named_parameters()) for folder in (model, tmp_path / "packed-out"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("proj" in name and "language_model" in name for name in moved)
