from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.policy.load import add_adapters, empty_model, fill, load_model, stored_weights
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.export import write_weights
from mmpr_pipeline.training.settings import LoraSettings
from mmpr_pipeline.training.world import World
from tests.training import made

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model_folder(tmp_path_factory.mktemp("model"))


def filled(folder: Path, lora: LoraSettings | None = None, seed: int = 0) -> PrefixSharedPolicy:
    model = empty_model(folder)
    assert all(parameter.is_meta for parameter in model.parameters())
    stored = stored_weights(folder, model)
    assert stored is not None
    policy = PrefixSharedPolicy(add_adapters(model, lora, 0) if lora else model)
    fill(policy, stored, CPU, seed)
    return policy


def test_an_empty_model_that_is_filled_is_the_model_that_transformers_loads(folder: Path) -> None:
    """Buffers, which no checkpoint holds (rotary frequencies), included."""
    ours, theirs = filled(folder).bare, load_model(folder)
    for kind in ("named_parameters", "named_buffers"):
        found, wanted = dict(getattr(ours, kind)()), dict(getattr(theirs, kind)())
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_what_was_not_trained_is_written_as_it_was(folder: Path, tmp_path: Path) -> None:
    model = empty_model(folder)
    stored = stored_weights(folder, model)
    assert stored is not None
    policy = PrefixSharedPolicy(model.requires_grad_(False))
    fill(policy, stored, CPU, 0)
    write_weights(policy, stored, tmp_path, 0.0, ALONE)
    for file in folder.glob("*.safetensors"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_adapters_begin_as_nothing_differ_by_seed_and_are_merged_as_peft_merges_them(
    folder: Path, tmp_path: Path
) -> None:
    lora = LoraSettings(rank=4)
    policy, other = filled(folder, lora), filled(folder, lora, seed=1)
    adapters = {name: p for name, p in policy.named_parameters() if "lora_" in name}
    assert all(not p.any() for name, p in adapters.items() if "lora_B" in name)
    first = {name: p for name, p in adapters.items() if "lora_A" in name}
    assert len({float(p.detach().flatten()[0]) for p in first.values()}) == len(first)
    assert not torch.equal(next(iter(first.values())), dict(other.named_parameters())[next(iter(first))])
    with torch.no_grad():
        for parameter in adapters.values():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    stored = stored_weights(folder, empty_model(folder))
    assert stored is not None
    write_weights(policy, stored, tmp_path, lora.alpha / lora.rank, ALONE)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    merged = policy.model.merge_and_unload()
    for name, value in load_model(tmp_path).named_parameters():
        torch.testing.assert_close(value, dict(merged.named_parameters())[name], atol=1e-6, rtol=1e-6)


def test_a_torn_checkpoint_and_one_of_another_shape_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    [file] = folder.glob("*.safetensors")
    tensors = load_file(file)
    last = sorted(tensors)[-1]
    save_file({name: value for name, value in tensors.items() if name != last}, tmp_path / file.name)
    with pytest.raises(ConfigError, match="lacks 1 weights"):
        stored_weights(tmp_path, empty_model(tmp_path))
    save_file({**tensors, last: tensors[last][:-1].clone()}, tmp_path / file.name)
    with pytest.raises(ConfigError, match="has the shape"):
        stored_weights(tmp_path, empty_model(tmp_path))


def test_statistics_that_a_checkpoint_holds_are_left_to_transformers(folder: Path) -> None:
    """Buffers that are stored: filled by nobody here, they would stay as they were made."""
    model = empty_model(folder)
    tower = model.model.vision_tower
    value = tower.embeddings.position_embeddings.detach()
    del tower.embeddings.position_embeddings
    tower.embeddings.register_buffer("position_embeddings", torch.zeros(value.shape))
    assert stored_weights(folder, model) is None


def test_tied_weights_are_left_to_transformers(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert stored_weights(tmp_path, empty_model(tmp_path)) is None
