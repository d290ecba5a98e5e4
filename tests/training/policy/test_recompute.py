from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.policy.layers import Checkpointing, set_checkpointing
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from tests.training import tiny


def gradients_and_memory(kind: Checkpointing, vision: Checkpointing | None = None) -> tuple[dict[str, Tensor], int]:
    """Gradients of a scored batch, and bytes alive between forward and backward, weights aside."""
    import gc

    model: Any = tiny.internvl().train()
    policy = PrefixSharedPolicy(model)
    set_checkpointing(model, kind, vision)
    batch = collate(*tiny.several_groups())
    policy(batch)  # caches are made
    gc.collect()

    def alive() -> dict[int, int]:
        tensors = [
            t for t in gc.get_objects() if type(t) in (Tensor, Parameter)
        ]  # none of a compiler's, which hold nothing
        return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}

    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    before = alive()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scores = policy(batch)
    cached = {key: size for key, size in alive().items() if key not in before}  # what selective checkpointing stores
    sizes = {key: size for key, (size, _) in kept.items()} | cached
    weights = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    scores.responses.sum().backward()
    grads = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    return grads, sum(size for key, size in sizes.items() if key not in weights)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # gc meets deprecated objects of torch
def test_each_kind_gives_the_same_gradients_and_the_next_one_keeps_less() -> None:
    runs = {kind: gradients_and_memory(kind) for kind in ("none", "matmuls", "full")}  # type: ignore[arg-type]
    for kind in ("matmuls", "full"):
        assert set(runs[kind][0]) == set(runs["none"][0])
        for name, expected in runs["none"][0].items():
            torch.testing.assert_close(runs[kind][0][name], expected, rtol=1e-4, atol=1e-5)
    assert runs["full"][1] < runs["matmuls"][1] < 0.8 * runs["none"][1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_vision_tower_has_a_kind_of_its_own() -> None:
    """Memory lies between the two kinds; gradients are the same."""
    names: list[tuple[Checkpointing, Checkpointing]] = [
        ("matmuls", "matmuls"), ("matmuls", "full"), ("full", "full"), ("none", "full"), ("full", "none"),
    ]  # fmt: skip
    runs = {pair: gradients_and_memory(*pair) for pair in names}
    for grads, _ in runs.values():
        for name, expected in runs["matmuls", "matmuls"][0].items():
            torch.testing.assert_close(grads[name], expected, rtol=1e-4, atol=1e-5)
    sizes = {pair: size for pair, (_, size) in runs.items()}
    assert sizes["full", "full"] < sizes["matmuls", "full"] < sizes["matmuls", "matmuls"]
    assert sizes["full", "full"] < sizes["full", "none"]
    assert sizes["matmuls", "full"] < sizes["none", "full"]


def test_products_are_not_computed_again_and_the_rest_is() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def flops(kind: Checkpointing) -> int:
        model = tiny.internvl().train()
        policy = PrefixSharedPolicy(model)
        set_checkpointing(model, kind)
        with FlopCounterMode(display=False) as counter:
            policy(collate(*tiny.several_groups())).responses.sum().backward()
        return counter.get_total_flops()

    assert flops("matmuls") == flops("none")
    assert flops("full") > 1.2 * flops("none")


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="matmuls"):
        set_checkpointing(tiny.internvl(), "some")  # type: ignore[arg-type]
