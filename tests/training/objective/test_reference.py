from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmpr_pipeline.core.errors import ConfigError, DatasetError, TrainingError
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.data.batch import PackedBatch, collate
from mmpr_pipeline.training.data.shards import (
    ReferenceKey,
    ReferenceRow,
    read_reference,
    write_reference,
)
from mmpr_pipeline.training.objective.reference import (
    adapter_off_reference,
    follow_policy,
    no_reference,
    online_reference,
    reference_rows,
    stored_reference,
)
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from tests.training import tiny

KEY = ReferenceKey("org/model", "abc", "w" * 32, "e" * 32, "float32")


def batch() -> PackedBatch:
    return collate(*tiny.several_groups())


@pytest.fixture
def policy() -> PrefixSharedPolicy:
    return PrefixSharedPolicy(tiny.internvl())


def test_stored_log_probs_come_back_as_the_model_gives_them(policy: PrefixSharedPolicy, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    groups, images = tiny.several_groups()
    batches = [collate(groups[:2], images[:2]), collate(groups[2:], images[2:])]
    write_reference(store, KEY, 3, 8, (row for each in batches for row in reference_rows(policy, each)))
    rows = read_reference(store, KEY, 3, 8)
    assert rows is not None
    assert list(rows) == ["one-0", "three-0", "three-1", "three-2", "tree-0", "tree-1", "tree-2", "bare-0"]
    for stored, online in zip(stored_reference(rows, batch()), online_reference(policy)(batch()), strict=True):
        assert not online.requires_grad
        assert torch.allclose(stored, online, atol=1e-4)
    assert rows["tree-1"].chosen_tokens == 20  # the response that is the shared half itself


def test_another_key_is_another_file(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write_reference(store, KEY, 0, 1, [ReferenceRow("p", -1.0, -2.0, 3, 4)])
    for change in ({"weights": "other"}, {"encoding": "other"}, {"dtype": "bfloat16"}):
        assert read_reference(store, replace(KEY, **change), 0, 1) is None
    assert read_reference(store, KEY, 0, 2) is None
    assert read_reference(store, KEY, 0, 1) == {"p": ReferenceRow("p", -1.0, -2.0, 3, 4)}


def test_an_unscored_pair_keeps_its_reason_and_stops_whoever_needs_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write_reference(store, KEY, 0, 1, [ReferenceRow("one-0", None, None, 0, 0, "pair_over_budget")])
    rows = read_reference(store, KEY, 0, 1)
    assert rows is not None
    assert rows["one-0"].reason == "pair_over_budget"
    with pytest.raises(TrainingError, match="pair_over_budget"):
        stored_reference(rows, batch())


def test_a_damaged_column_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(KEY.file(0, 1), b"ARROW1 torn")
    with pytest.raises(DatasetError, match="reference-00000-of-00001"):
        read_reference(store, KEY, 0, 1)


def test_any_flipped_bit_of_a_column_is_found(tmp_path: Path) -> None:
    store, draw = open_store(tmp_path), random.Random(5)
    write_reference(store, KEY, 0, 1, [ReferenceRow(f"p{i}", -1.0 - i, -2.0, 3, 4) for i in range(20)])
    raw = store.read(KEY.file(0, 1))
    for _ in range(200):
        bit = draw.randrange(8 * len(raw))
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        store.write(KEY.file(0, 1), bytes(damaged))
        with pytest.raises(DatasetError, match=r"reference-00000-of-00001(?s:.)*Delete the file"):
            read_reference(store, KEY, 0, 1)
    store.write(KEY.file(0, 2), raw)
    with pytest.raises(DatasetError, match="its checksum does not match"):
        read_reference(store, KEY, 0, 2)


def test_rows_of_another_tokenizer_are_refused(policy: PrefixSharedPolicy) -> None:
    rows = {row.pair_id: row for row in reference_rows(policy, batch())}
    rows["bare-0"] = replace(rows["bare-0"], chosen_tokens=99)
    with pytest.raises(TrainingError, match=r"bare-0.*99"):
        stored_reference(rows, batch())


def test_a_model_folder_is_known_by_its_contents(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    model = tiny.internvl()
    model.save_pretrained(first)
    model.save_pretrained(second)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1e-3
    model.save_pretrained(third)
    digests = [ReferenceKey.of("model", None, folder, 12, "float32").weights for folder in (first, second, third)]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(ConfigError, match="no model weights"):
        ReferenceKey.of("model", None, tmp_path, 12, "float32")


def lora(model: Any) -> Any:
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )


def test_with_lora_the_reference_is_the_model_without_adapters() -> None:
    base = tiny.internvl()
    expected = online_reference(PrefixSharedPolicy(copy.deepcopy(base)))(batch())
    adapted = PrefixSharedPolicy(lora(base))
    reference = adapter_off_reference(adapted)
    chosen, _ = reference(batch())
    assert torch.allclose(chosen, expected[0], atol=1e-5)
    assert not torch.allclose(adapted(batch()).responses[batch().chosen], chosen, atol=0.01)  # adapters are on again


def test_gradients_reach_the_adapters_only() -> None:
    policy = PrefixSharedPolicy(lora(tiny.internvl()))
    policy(batch()).responses.sum().backward()
    with_gradient = {name for name, p in policy.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any("language_model" in name for name in with_gradient)
    assert all("lora_" in name for name in with_gradient)


def test_without_adapters_there_is_no_adapter_reference(policy: PrefixSharedPolicy) -> None:
    with pytest.raises(ConfigError, match="LoRA"):
        adapter_off_reference(policy)


def test_no_reference_is_zeros() -> None:
    assert [values.tolist() for values in no_reference(batch())] == [[0.0] * 8, [0.0] * 8]


def test_a_moving_reference_follows_the_policy() -> None:
    reference, policy = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        reference.weight.fill_(1.0)
        policy.weight.fill_(2.0)
    follow_policy(reference, policy, 0.25)
    assert reference.weight.item() == 1.25
    follow_policy(reference, policy, 1.0)
    assert reference.weight.item() == 2.0
    with pytest.raises(ConfigError):
        follow_policy(reference, policy, 0.0)
