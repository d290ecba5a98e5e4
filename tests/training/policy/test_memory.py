from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.batch import PackedBatch, collate
from mmpr_pipeline.training.policy.memory import (
    GIB,
    MemoryEstimate,
    ModelShape,
    StackShape,
    StepShape,
    check_memory,
    estimate_memory,
    shape_of,
)
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from tests.training import tiny

INTERNVL2_8B = ModelShape(
    text=StackShape(layers=32, hidden=4096, mlp=14336, query=4096, kv=1024, gated=True),
    vision=StackShape(layers=24, hidden=1024, mlp=4096, query=1024, kv=1024, gated=False),
    vocabulary=92553,
    tile_tokens=1025,
    parameters={"text": 6_980_000_000, "vision": 304_000_000, "projector": 33_600_000, "head": 758_200_000},
)


def batch(responses: int = 4) -> PackedBatch:
    rng = random.Random(0)
    group = tiny.group("g", [tiny.words(rng, 150) for _ in range(responses)], [(0, 1)])
    return collate([group], [tiny.tiles(1, 0)])


def kept_by_autograd(policy: PrefixSharedPolicy, packed: PackedBatch) -> int:
    """Bytes of distinct storages, weights aside, that a forward keeps for its backward."""
    weights = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    seen: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        policy(packed)
    return sum(size for size, _ in seen.values())


def step(packed: PackedBatch, **changes: Any) -> StepShape:
    keys, scored = len(packed.layout.key_index), len(packed.targets)
    sizes: dict[str, Any] = {"tokens": packed.tokens, "scored": scored, "keys": keys, "tiles": 1}
    return StepShape(**{**sizes, "bytes_per_value": 4, "checkpointing": "none", **changes})


@pytest.mark.parametrize("text", ["qwen2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_are_what_a_forward_keeps(text: str, dtype: torch.dtype) -> None:
    policy = PrefixSharedPolicy(tiny.internvl(text).to(dtype).train())
    packed = batch()
    needed = estimate_memory(shape_of(policy.bare, policy.family), step(packed, bytes_per_value=dtype.itemsize))
    counted = needed.text_activations + needed.vision_activations + packed.tokens * 64 * dtype.itemsize
    assert counted == pytest.approx(kept_by_autograd(policy, packed), rel=0.15)


def test_with_checkpointing_only_layer_inputs_are_kept() -> None:
    model = tiny.internvl().train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    policy, packed = PrefixSharedPolicy(model), batch()
    shape = shape_of(policy.bare, policy.family)
    inputs = shape.text.layers * packed.tokens * shape.text.hidden * 4
    others = kept_by_autograd(policy, packed) - inputs
    full = estimate_memory(shape, step(packed)).text_activations
    assert 0 < others < 0.3 * full


def test_parameters_are_counted_once_and_by_part() -> None:
    for model in (tiny.internvl(), tiny.qwen2_5_vl()):
        policy = PrefixSharedPolicy(model)
        shape = shape_of(model, policy.family)
        assert sum(shape.parameters.values()) == sum(p.numel() for p in model.parameters())
        assert shape.parameters["head"] == 2 * tiny.VOCABULARY * 64
        assert all(shape.parameters.values())


def test_adamw_on_one_gpu_is_sixteen_bytes_a_parameter() -> None:
    needed = estimate_memory(INTERNVL2_8B, StepShape(tokens=4300, scored=2400, keys=19500, tiles=7))
    everything = sum(INTERNVL2_8B.parameters.values())
    copies = needed.weights + needed.gradients + needed.optimizer - 16 * everything
    assert 0 < copies < 2 * everything / 4  # a layer, embeddings and output layer, cast to bfloat16
    with pytest.raises(TrainingError, match=r"optimizer +60\.\d+ GiB"):
        check_memory(needed, 80 * GIB)


def test_eight_gpus_hold_what_one_cannot() -> None:
    one = StepShape(tokens=4300, scored=2400, keys=19500, tiles=7)
    eight = estimate_memory(INTERNVL2_8B, StepShape(tokens=4300, scored=2400, keys=19500, tiles=7, ranks=8))
    check_memory(eight, 80 * GIB)
    assert eight.total < estimate_memory(INTERNVL2_8B, one).total / 3


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"checkpointing": "matmuls"}, "text_activations"),
        ({"checkpointing": "full"}, "text_activations"),
        ({"trained": ("text", "projector", "head")}, "vision_activations"),
        ({"trained": ("projector",)}, "optimizer"),
        ({"chunk_bytes": 1 << 20}, "head"),
    ],
)
def test_each_remedy_lowers_its_part(change: dict[str, Any], part: str) -> None:
    base = {"tokens": 4300, "scored": 2400, "keys": 19500, "tiles": 7, "checkpointing": "none"}
    before, after = (estimate_memory(INTERNVL2_8B, StepShape(**{**base, **extra})) for extra in ({}, change))
    assert getattr(after, part) < getattr(before, part)
    assert after.total < before.total


def test_a_second_model_costs_its_weights() -> None:
    base = {"tokens": 100, "scored": 50, "keys": 200, "tiles": 1}
    without, with_one = (
        estimate_memory(INTERNVL2_8B, StepShape(**base, second_model=second)) for second in (False, True)
    )
    assert with_one.total - without.total == 4 * sum(INTERNVL2_8B.parameters.values())  # kept in float32


def test_the_table_adds_up() -> None:
    assert MemoryEstimate(1, 2, 3, 4, 5, 6, 7).total == 28
    assert MemoryEstimate(GIB, 0, 0, 0, 0, 0, GIB).lines()[-1].split() == ["total", "2.00", "GiB"]
