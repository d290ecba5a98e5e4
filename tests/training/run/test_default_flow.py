"""Training begins where a user begins, with a dataset that nobody has scored, on one, two and four ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmpr_pipeline.training.run.run_folder import read_lines
from mmpr_pipeline.training.world import World
from tests.training import made
from tests.training.ranks import said_by_ranks
from tests.training.run import flow_worker

COMPARED = ("pairs", "loss", "loss/dpo", "loss/bco", "loss/sft", "delta", "reward/margin", "rejected")
WHOLE = [name for name, options in flow_worker.CASES.items() if "dtype" not in options]
HALF = [name for name in flow_worker.CASES if name not in WHOLE]
ALONE = [name for name in WHOLE if name != "hsdp"]  # which is `stored` in one process
SHORT = {
    1: ALONE,
    2: ["stored", "stored-bf16", "online", "lora", "tr-dpo, frozen tower"],
    4: ["stored-bf16", "hsdp"],
}
"""What `make test` trains, by ranks: every case on some number of ranks, each number with some cases. The others are
breadth, and of the campaign."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]


def trained(names: list[str], *ranks: int) -> list[Any]:
    """Parameters `ranks, name`."""
    breadth = pytest.mark.campaign
    return [pytest.param(n, name, marks=() if name in SHORT[n] else breadth) for n in ranks for name in names]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """All cases that the chosen tests ask for, on one, two and four ranks, which start once."""
    directory = tmp_path_factory.mktemp("flow")
    made.model_folder(directory / "model")
    made.dataset(directory / "data", made.outcomes_of_images())
    here = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    asked = {(item.callspec.params.get("ranks", 4), item.callspec.params["name"]) for item in here}
    asked |= {(2, name) for ranks, name in asked if ranks == 4 and name in HALF}
    asked |= {(2, name.removesuffix("-bf16")) for _, name in asked if name in HALF}
    asked |= {(1, name if name in ALONE else "stored") for _, name in asked if name in WHOLE}
    names = {ranks: [name for name in flow_worker.CASES if (ranks, name) in asked] for ranks in (1, 2, 4)}
    flow_worker.run_all(directory, names[1], World(0, 1, torch.device("cpu")))
    for ranks in (2, 4):
        said_by_ranks([str(directory), *names[ranks]], "tests.training.run.flow_worker", ranks, seconds=900)
    return directory


def lines(runs: Path, ranks: int, name: str) -> list[dict[str, Any]]:
    return read_lines(runs / str(ranks) / name / "run" / "metrics.jsonl")


@pytest.mark.parametrize(("ranks", "name"), trained(WHOLE, 2, 4))
def test_several_ranks_have_the_losses_of_one(runs: Path, name: str, ranks: int) -> None:
    """Five pairs a step leave ranks without work, or without images, while others still compute; some steps have no
    image at all; the second half is resumed."""
    ours, alone = lines(runs, ranks, name), lines(runs, 1, name if name in ALONE else "stored")
    assert len(ours) == len(alone) == 4
    assert {line["tiles"] > 0 for line in ours} == {False, True}
    for one, other in zip(alone, ours, strict=True):
        for key in COMPARED:
            if key in one:
                assert other[key] == pytest.approx(one[key], abs=1e-5, rel=1e-5), (key, one["step"])
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT[4] else pytest.mark.campaign) for name in HALF]
)
def test_bfloat16_is_near_to_float32(runs: Path, name: str) -> None:
    """Mixed precision, as on a GPU: four ranks as two, and both as float32 within bfloat16's rounding."""
    whole, two, four = lines(runs, 2, name.removesuffix("-bf16")), lines(runs, 2, name), lines(runs, 4, name)
    assert two[0]["loss"] - two[0]["loss/sft"] == pytest.approx(0.8318, abs=0.01)
    for one, a, b in zip(whole, two, four, strict=True):
        assert a["loss"] == pytest.approx(one["loss"], rel=0.05)
        assert b["loss"] == pytest.approx(a["loss"], rel=0.02)


@pytest.mark.parametrize(("ranks", "name"), [*trained(ALONE, 1), *trained(list(flow_worker.CASES), 2, 4)])
def test_every_trained_tensor_moves(runs: Path, name: str, ranks: int) -> None:
    found = json.loads((runs / str(ranks) / name / "moved.json").read_text())
    assert found["trained"] > 10
    assert found["stuck"] == []


@pytest.mark.parametrize(
    ("ranks", "name"),
    [*trained([n for n in ALONE if "lora" not in n], 1), *trained([n for n in WHOLE if "lora" not in n], 2, 4)],
)
def test_what_is_exported_is_what_was_trained(runs: Path, name: str, ranks: int) -> None:
    assert json.loads((runs / str(ranks) / name / "exported.json").read_text()) == 0.0


def test_no_rank_holds_the_model_while_it_loads_and_exports(runs: Path) -> None:
    """Four ranks, half a gigabyte; 60 MB are for gloo and Python."""
    for rank in range(4):
        found = json.loads((runs / f"memory-{rank}.json").read_text())
        assert found["model"] > 500e6
        assert found["taken"] < found["shard"] + found["largest"] + 60e6 < 0.5 * found["model"], found
