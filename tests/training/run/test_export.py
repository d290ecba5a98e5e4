from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.data.encode import PairEncoder
from mmpr_pipeline.training.data.shards import Shards
from mmpr_pipeline.training.policy.families.family import family_of
from mmpr_pipeline.training.policy.load import add_adapters, find_model, load_model, load_processor
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run import export
from mmpr_pipeline.training.run.export import EXPORT_MARKER, export_model, self_test
from mmpr_pipeline.training.settings import LoraSettings
from mmpr_pipeline.training.world import World
from tests.training import made

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards(open_store(made.dataset(tmp_path_factory.mktemp("data"))))


def scores(policy: PrefixSharedPolicy, folder: Path, shards: Shards) -> torch.Tensor:
    encoder = PairEncoder(load_processor(folder), policy.bare, policy.family, 12)
    encoded = encoder.encode(shards[0], 0, 0, 1)
    assert encoded.group is not None
    with torch.no_grad():
        return policy(collate([encoded.group], [encoded.images])).responses


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_the_export_scores_as_the_policy_did(
    folder: Path, shards: Shards, tmp_path: Path, lora: LoraSettings | None
) -> None:
    model = load_model(folder)
    policy = PrefixSharedPolicy(add_adapters(model, lora, 0) if lora else model)
    before = scores(policy, folder, shards)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape))
    trained = scores(policy, folder, shards)
    assert not torch.allclose(trained, before, atol=0.05)
    out = export_model(policy, find_model(str(folder)), tmp_path / "out", lora, ALONE)
    again = PrefixSharedPolicy(load_model(out))
    torch.testing.assert_close(scores(again, out, shards), trained, atol=1e-4, rtol=1e-4)
    assert family_of(again.bare).image_tokens(again.bare, {}) == 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    export_model(policy, find_model(str(folder)), out, lora, ALONE)  # an export may be replaced ...
    (out / EXPORT_MARKER).unlink()
    with pytest.raises(ConfigError, match="was not exported by mmpr"):
        export_model(policy, find_model(str(folder)), out, lora, ALONE)  # ... and nothing else


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "not finite"), (0.0, "all zero")])
def test_a_broken_export_is_not_put_in_place(folder: Path, tmp_path: Path, value: float, said: str) -> None:
    policy = PrefixSharedPolicy(load_model(folder))
    with torch.no_grad():
        policy.bare.model.language_model.layers[0].mlp.up_proj.weight.fill_(value)
    with pytest.raises(TrainingError, match=said):
        export_model(policy, find_model(str(folder)), tmp_path / "out", None, ALONE)
    assert list(tmp_path.iterdir()) == []


def test_the_self_test_passes_a_good_model(folder: Path) -> None:
    self_test(folder)


def test_a_large_export_is_tested_without_holding_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and shapes by the files' headers; the processor is used."""
    copy = tmp_path / "large"
    shutil.copytree(folder, copy)
    monkeypatch.setattr(export, "load_model", None)
    self_test(copy, whole=0)
    [file] = copy.glob("*.safetensors")
    tensors = load_file(file)
    last = sorted(tensors)[-1]
    save_file({**tensors, last: tensors[last][:-1].clone()}, file)
    with pytest.raises(ConfigError, match="has the shape"):
        self_test(copy, whole=0)
    save_file({name: value for name, value in tensors.items() if name != last}, file)
    with pytest.raises(ConfigError, match="lacks 1 weights"):
        self_test(copy, whole=0)
