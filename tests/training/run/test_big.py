"""The structure of InternVL2-Llama3-76B in small: converted, trained, exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmpr_pipeline.models.convert.run import convert
from mmpr_pipeline.training.policy.load import load_model
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.run_folder import read_lines
from tests.training import made, originals


def test_a_76b_in_small_is_converted_trained_and_exported(tmp_path: Path) -> None:
    """InternViT-6B (norms of queries and keys, RMSNorm, no bias there) before a Llama 3."""
    source = originals.original(tmp_path / "original", "llama", big=True)
    native = tmp_path / "native"
    convert(source, native)
    before = dict(load_model(native).named_parameters())
    assert any("q_norm" in name for name in before)
    assert not any("q_proj.bias" in name for name in before)
    data = made.dataset(tmp_path / "data")
    config = made.settings(native, data, tmp_path / "run", max_steps=2, export=str(tmp_path / "out"))
    assert train(config).export
    first, _ = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert first["loss"] - first["loss/sft"] == pytest.approx(0.8318, abs=1e-3)
    after = dict(load_model(tmp_path / "out").named_parameters())
    assert after.keys() == before.keys()
    assert not [name for name in before if torch.equal(before[name], after[name])]
