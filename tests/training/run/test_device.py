from __future__ import annotations

from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.device import shape_of
from tests.training import tiny


def test_parameters_are_counted_once_and_by_part() -> None:
    for model in (tiny.internvl(), tiny.qwen2_5_vl()):
        policy = PrefixSharedPolicy(model)
        shape = shape_of(model, policy.family)
        assert sum(shape.parameters.values()) == sum(p.numel() for p in model.parameters())
        assert shape.parameters["head"] == 2 * tiny.VOCABULARY * 64
        assert all(shape.parameters.values())
