from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from mmpr_pipeline.core.errors import ConfigError, StoreError
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.run import checkpoint
from mmpr_pipeline.training.run.checkpoint import RunProgress, check_room, checkpoints, load_checkpoint, save, sweep

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


def test_weights_moments_and_random_state_come_back(tmp_path: Path) -> None:
    model, optimizer = learner()
    move(model, optimizer, 3)
    save(tmp_path, RunProgress(3, 30, 1.25, 60), model, optimizer, ALONE, keep=2)
    drawn = torch.rand(4)
    move(model, optimizer, 2)
    other, others = learner()
    assert load_checkpoint(checkpoints(tmp_path)[-1], other, others, ALONE) == RunProgress(3, 30, 1.25, 60)
    assert torch.equal(torch.rand(4), drawn)
    move(other, others, 2)
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_only_the_newest_are_kept_and_leftovers_of_killed_runs_go(tmp_path: Path) -> None:
    model, optimizer = learner()
    for step in (1, 2, 10, 9):
        move(model, optimizer, 1)
        save(tmp_path, RunProgress(step, step, 0.0, 0), model, optimizer, ALONE, keep=2)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000009", "step-00000010"]
    (tmp_path / "checkpoints" / ".unfinished-step-00000011").mkdir()
    assert len(checkpoints(tmp_path)) == 2
    sweep(tmp_path)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_failure_half_way_leaves_nothing_with_a_checkpoints_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = learner()
    move(model, optimizer, 1)

    def torn(*args: object) -> None:
        (tmp_path / "checkpoints" / ".unfinished-step-00000001" / "__0_0.distcp").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", torn)
    with pytest.raises(StoreError, match=r"the disk is full[\s\S]*Free some space"):
        save(tmp_path, RunProgress(1, 1, 0.0, 0), model, optimizer, ALONE, keep=2)
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError(0), r"KeyError: 0[\s\S]*The disk is not the cause"),
        (PermissionError(13, "Permission denied", "/runs/x"), r"Permission denied \(/runs/x\)[\s\S]*rights"),
        (OSError(122, "Disk quota exceeded"), r"the disk is full[\s\S]*Free some space"),
    ],
)
def test_what_stopped_a_save_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """As torch wraps it: what a rank met comes in an exception of its own."""
    from torch.distributed.checkpoint.api import CheckpointException

    def failing(*args: object) -> None:
        raise CheckpointException("write", {0: (error, None)})

    monkeypatch.setattr(checkpoint, "_write", failing)
    with pytest.raises(StoreError, match=said):
        save(tmp_path, RunProgress(1, 1, 0.0, 0), *learner(), ALONE, keep=2)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    model, optimizer = learner()
    move(model, optimizer, 1)
    folder = save(tmp_path, RunProgress(1, 1, 0.0, 0), model, optimizer, ALONE, keep=2)
    for file in folder.glob("*.distcp"):
        file.write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"step-00000001 cannot be read[\s\S]*one before"):
        load_checkpoint(folder, *learner(1), ALONE)
    assert json.loads((folder / "state.json").read_text())["step"] == 1


def test_any_flipped_bit_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    model, optimizer = learner()
    move(model, optimizer, 1)
    folder = save(tmp_path, RunProgress(1, 1, 0.5, 2), model, optimizer, ALONE, keep=2)
    draw = random.Random(3)
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        for _ in range(25):
            bit = draw.randrange(8 * len(raw))
            damaged = bytearray(raw)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(StoreError, match=r"step-00000001 cannot be read[\s\S]*What to do: Remove it"):
                load_checkpoint(folder, *learner(1), ALONE)
        path.unlink()
        with pytest.raises(StoreError, match=r"step-00000001 cannot be read"):
            load_checkpoint(folder, *learner(1), ALONE)
        path.write_bytes(raw)
    (folder / "stranger").write_text("x")
    with pytest.raises(StoreError, match=r"stranger is gone or damaged"):
        load_checkpoint(folder, *learner(1), ALONE)
    (folder / "stranger").unlink()
    assert load_checkpoint(folder, *learner(1), ALONE) == RunProgress(1, 1, 0.5, 2)


def test_a_checkpoint_of_a_version_without_hashes_is_taken(tmp_path: Path) -> None:
    model, optimizer = learner()
    move(model, optimizer, 1)
    folder = save(tmp_path, RunProgress(1, 1, 0.5, 2), model, optimizer, ALONE, keep=2)
    (folder / "state.json").write_text('{"step": 1, "pairs": 1, "shift_total": 0.5, "shift_count": 2}')
    assert load_checkpoint(folder, *learner(1), ALONE) == RunProgress(1, 1, 0.5, 2)
    (folder / "state.json").write_text('{"step": 1, "pairs": 1, "shift_total": 0.5, "shift_count": 2, "hashez": {}}')
    with pytest.raises(StoreError, match="it has no checksum"):
        load_checkpoint(folder, *learner(1), ALONE)


def test_a_disk_too_small_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GiB free"):
        check_room(tmp_path, trained=10**15, ranks=1)
