from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmpr_pipeline.core.errors import ConfigError, StoreError
from mmpr_pipeline.training import checkpoints as module
from mmpr_pipeline.training.checkpoints import Checkpointer, CheckpointPlace, RunProgress
from mmpr_pipeline.training.world import World
from tests.training import made

ALONE = World(0, 1, torch.device("cpu"))


def learner(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    return model, optimizer


def move(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        model(torch.ones(3, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "directory":
        return CheckpointPlace(tmp_path)
    return CheckpointPlace(tmp_path, f"s3://{request.getfixturevalue('s3_bucket')}/checkpoints")


@pytest.fixture
def directory(tmp_path: Path) -> CheckpointPlace:
    return CheckpointPlace("", str(tmp_path))


def saved(place: Any, step: int = 1) -> None:
    model, optimizer = learner()
    move(model, optimizer, 1)
    Checkpointer(place, ALONE, model, optimizer, behind=False).save(RunProgress(step, step, 0.5, 2))


def found_in(place: CheckpointPlace) -> set[str]:
    """Folders of the place, hidden ones of a disk included."""
    keys = [path.name for path in place.store.folder.iterdir()] if place.store.folder else place.store.list()
    return {key.partition("/")[0] for key in keys}


@pytest.mark.parametrize("behind", [False, True])
def test_weights_moments_and_random_state_come_back(place: Any, behind: bool) -> None:
    model, optimizer = learner()
    move(model, optimizer, 3)
    writer = Checkpointer(place, ALONE, model, optimizer, behind=behind)
    writer.save(RunProgress(3, 30, 1.25, 60))
    drawn = torch.rand(4)
    move(model, optimizer, 2)  # what is written behind is what was saved, not what the weights became
    writer.wait()
    other, others = learner()
    assert place.steps() == [3]
    assert Checkpointer(place, ALONE, other, others).load(3) == RunProgress(3, 30, 1.25, 60)
    assert torch.equal(torch.rand(4), drawn)
    move(other, others, 2)
    for ours, theirs in zip(other[1].parameters(), model[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_layer_that_no_gradient_reached_yet_hinders_no_resumed_run(directory: CheckpointPlace) -> None:
    """As the last layer of LLaVA's vision tower, which none ever reaches."""

    def with_idle_layer() -> tuple[nn.Module, torch.optim.Optimizer]:
        model, optimizer = learner()
        idle = nn.Linear(4, 2)
        model.add_module("idle", idle)
        optimizer.add_param_group({"params": list(idle.parameters())})
        return model, optimizer

    def part_of(model: nn.Module) -> nn.Module:
        return nn.Sequential(model.get_submodule("0"), model.get_submodule("1"))

    model, optimizer = with_idle_layer()
    move(part_of(model), optimizer, 2)
    Checkpointer(directory, ALONE, model, optimizer, behind=False).save(RunProgress(2, 2, 0.0, 0))
    other, others = with_idle_layer()
    Checkpointer(directory, ALONE, other, others).load(2)
    for each, its in ((model, optimizer), (other, others)):
        move(part_of(each), its, 1)
        move(each.get_submodule("idle"), its, 2)
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_training_goes_on_while_a_checkpoint_is_written(
    directory: CheckpointPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next save waits for it: never two copies of the state in memory."""
    go_on, order = threading.Event(), []

    write = directory.store.write

    def slow(key: str, data: bytes) -> None:
        assert go_on.wait(20)
        write(key, data)
        order.append(f"written {int(key[5:13])}")

    monkeypatch.setattr(directory.store, "write", slow)
    writer = Checkpointer(directory, ALONE, *learner())
    writer.save(RunProgress(1, 1, 0.0, 0))
    order.append("training")
    assert directory.steps() == []
    threading.Timer(0.2, go_on.set).start()
    writer.save(RunProgress(2, 2, 0.0, 0))
    order.append("training again")
    writer.wait()
    assert order[:2] == ["training", "written 1"]
    assert directory.steps() == [1, 2]


def test_only_the_newest_and_the_spared_are_kept_and_leftovers_of_killed_runs_go(place: Any) -> None:
    for step in (1, 2, 10, 9):
        saved(place, step)
    place.prune(2, 1)
    assert place.steps() == [1, 9, 10]
    place.store.write("step-00000011/__0_0.distcp", b"half")
    place.store.write("step-7/of another program", b"stays")
    if place.store.folder:  # of a rank, and of a state.json that was being written
        (place.store.folder / ".unfinished-of-a-rank").mkdir()
        (place.store.folder / "step-00000012").mkdir()
        (place.store.folder / "step-00000012" / ".unfinished-state").touch()
    assert place.steps() == [1, 9, 10]
    place.sweep()
    assert found_in(place) == {"step-00000001", "step-00000009", "step-00000010", "step-7"}


def test_a_failure_half_way_leaves_nothing_with_a_checkpoints_name(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(place, 1)
    right = place.store.put_file

    def torn(key: str, file: Path) -> None:
        right(key, file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place.store, "put_file", torn)
    writer = Checkpointer(place, ALONE, *learner())
    writer.save(RunProgress(2, 1, 0.0, 0))
    with pytest.raises(StoreError, match=r"the disk is full[\s\S]*Free some space"):
        writer.wait()
    writer.wait()  # it was raised once
    assert place.steps() == [1]
    assert found_in(place) == {"step-00000001"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError(0), r"KeyError: 0[\s\S]*The disk is not the cause"),
        (PermissionError(13, "Permission denied", "/runs/x"), r"Permission denied \(/runs/x\)[\s\S]*rights"),
        (OSError(122, "Disk quota exceeded"), r"the disk is full[\s\S]*Free some space"),
        (StoreError("s3://b does not answer.", remedy="Look."), r"s3://b does not answer\.\n.*Look\. --resume"),
    ],
)
def test_what_stopped_a_save_is_told_as_what_it_is(
    directory: CheckpointPlace, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """As torch wraps it: what a rank met comes in an exception of its own."""
    from torch.distributed.checkpoint.api import CheckpointException

    def failing(*args: object, **options: object) -> None:
        raise CheckpointException("write", {0: (error, None)})

    monkeypatch.setattr(module.dcp, "save", failing)
    with pytest.raises(StoreError, match=said):
        Checkpointer(directory, ALONE, *learner(), behind=False).save(RunProgress(1, 1, 0.0, 0))


def test_any_flipped_bit_of_a_checkpoint_is_found(directory: CheckpointPlace) -> None:
    saved(directory)
    folder = Path(directory.url) / "step-00000001"
    draw = random.Random(3)
    reader = Checkpointer(directory, ALONE, *learner(1))
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        for _ in range(25):
            bit = draw.randrange(8 * len(raw))
            damaged = bytearray(raw)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(StoreError, match=r"step-00000001 cannot be read[\s\S]*What to do: Remove it"):
                reader.load(1)
        path.unlink()
        with pytest.raises(StoreError, match=r"step-00000001 cannot be read"):
            reader.load(1)
        path.write_bytes(raw)
    assert reader.load(1) == RunProgress(1, 1, 0.5, 2)


def test_a_damaged_object_is_found(s3_bucket: str, tmp_path: Path) -> None:
    place = CheckpointPlace(tmp_path, f"s3://{s3_bucket}/run")
    saved(place)
    for key in place.store.list("step-00000001/"):
        raw = place.store.read(key)
        place.store.write(key, raw[:-1])
        with pytest.raises(StoreError, match="cannot be read"):
            Checkpointer(place, ALONE, *learner(1)).load(1)
        place.store.write(key, raw)
    assert Checkpointer(place, ALONE, *learner(1)).load(1).step == 1


def test_a_state_without_hashes_is_no_checkpoint(directory: CheckpointPlace) -> None:
    saved(directory)
    state = Path(directory.url) / "step-00000001" / "state.json"
    state.write_text('{"step": 1, "pairs": 1, "shift_total": 0.5, "shift_count": 2}')
    with pytest.raises(StoreError, match="it has no checksum"):
        Checkpointer(directory, ALONE, *learner(1)).load(1)


def test_a_disk_too_small_is_refused_before_any_work(directory: CheckpointPlace, s3_bucket: str) -> None:
    with pytest.raises(ConfigError, match="GiB free"):
        directory.check_room(10**16, 10**16)
    with pytest.raises(ConfigError, match="TMPDIR"):
        CheckpointPlace("run", f"s3://{s3_bucket}/run").check_room(10**16, 10**16)


def test_a_run_whose_checkpoints_are_in_an_object_store_resumes(tmp_path: Path, s3_bucket: str) -> None:
    from mmpr_pipeline.training.run.loop import train
    from mmpr_pipeline.training.run.run_folder import read_lines

    model, data = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data")
    config = made.settings(model, data, tmp_path / "run", checkpoints=f"s3://{s3_bucket}/kept")
    train(config.model_copy(update={"max_steps": 2}))
    assert CheckpointPlace("", config.checkpoints).steps() == [1, 2]
    assert not (tmp_path / "run" / "checkpoints").exists()
    with pytest.raises(ConfigError, match="already holds a run"):
        train(config)
    train(config, resume=True)
    train(made.settings(model, data, tmp_path / "whole"))
    ours, whole = ([line["loss"] for line in read_lines(tmp_path / r / "metrics.jsonl")] for r in ("run", "whole"))
    assert ours == whole
