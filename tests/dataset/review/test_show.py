"""Pairs in the terminal: drawn by seed, the shared part dimmed, nothing in them steers the terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.dataset.review.show import pick_pairs, shared_prefix, show_pairs
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_dataset, write_shard


def shown(out: Path, number: int = 3, width: int = 140, colour: bool = False) -> str:
    console = Console(width=width, force_terminal=colour, color_system="standard" if colour else None)
    with console.capture() as capture:
        show_pairs(out, number, 0, console)
    return capture.get()


def test_pairs_are_drawn_by_seed_from_different_questions(out: Path) -> None:
    first = pick_pairs(out, 8, seed=1)
    assert [p["pair_id"] for p in first] == [p["pair_id"] for p in pick_pairs(out, 8, seed=1)]
    assert [p["pair_id"] for p in first] != [p["pair_id"] for p in pick_pairs(out, 8, seed=2)]
    assert len({p["question_id"] for p in first}) == 8


def test_all_pairs_can_be_asked_for(out: Path) -> None:
    assert len({p["pair_id"] for p in pick_pairs(out, 1000, seed=1)}) == 40


@pytest.mark.parametrize("width", [140, 60])
def test_a_pair_is_shown_with_its_question_and_answers(out: Path, width: int) -> None:
    text = shown(out, 40, width)
    for part in ("How tall is bar", "chosen", "rejected", "answer: 0", "[png ", "dropout ntp", "cot-final-en@1"):
        assert part in text
    assert "<image>" not in text


def test_the_shared_part_is_dimmed(out: Path) -> None:
    assert shared_prefix("the bar is 4", "the bar is 5") == 11
    assert shared_prefix("same", "same and more") == 4
    assert "\x1b[2mThe bars are read one by one. Reading" in shown(out, 40, 60, colour=True)


def test_a_hostile_response_does_not_steer_the_terminal(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcome = make_outcome(0)
    evil = "[bold red]x[/] \x1b[2J\x07 \u202e"
    pair = outcome.pairs[0].model_copy(update={"chosen": evil, "prompt": f"{evil} <image>", "answer": evil})
    write_shard(store, 0, 1, [dataclasses.replace(outcome, pairs=(pair, *outcome.pairs[1:]))])
    store.write(layout.SUMMARY, json_bytes(summarise(store, 1)))
    text = shown(tmp_path, 2)
    assert "[bold red]x[/]" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_dataset_without_pairs_says_so(tmp_path: Path) -> None:
    write_dataset(tmp_path, questions=0, shards=1)
    assert "no pairs" in shown(tmp_path)
