"""Screening in builds: what is dropped, counted and listed; mixtures and repeats; the same bytes however it is run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mmpr_pipeline
from mmpr_pipeline.core.errors import ConfigError, StoreError
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.driver import run_build, run_plan
from mmpr_pipeline.pipeline.output import begun_with, claim_output, finish, has_begun
from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.plans.screening_pass import decide, key_pieces, look_at, sketch_pieces
from mmpr_pipeline.pipeline.watch.estimate import estimate_build, estimate_table
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.screening import DROPPED, REPORT, STATUS, chunks
from mmpr_pipeline.screening.chunks import read_table
from mmpr_pipeline.storage import Store, open_store
from tests.cluster.sessions import local_ray
from tests.pipeline.made import files_of
from tests.pipeline.workers.test_shards_on_ray import Silent
from tests.screening.figures import encoded, figure

Row = tuple[str, int, str]
"""Question, figure and answer."""


def made(folder: Path, name: str, rows: list[Row], role: str = "train", suffix: str = "png") -> Path:
    """A declaration of rows whose images are figures by number."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for at, (question, number, answer) in enumerate(rows):
        image = folder / f"{name}-{number}.{suffix}"
        if not image.exists():
            image.write_bytes(encoded(figure(number), "JPEG" if suffix == "jpg" else "PNG"))
        lines.append({"id": f"{name}{at}", "question": question, "image": image.name, "answer": answer})
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\ndescription: Made.\nfiles: {name}.jsonl\nkind: number\nrole: {role}\n"
        "columns: {id: id, question: question, answer: answer, image: image}\n"
    )
    return path


def rows(n: int, first: int = 0) -> list[Row]:
    return [(f"How long is side {i} of the figure?", i, str(i % 13)) for i in range(first, first + n)]


def plan_of(out: Path, *sources: Path | str, **given: Any) -> BuildPlan:
    listed = [str(source) for source in sources]
    settings = {"sources": listed, "out": str(out), "shards": 3, "engine.name": "scripted", "screening.against": []}
    settings |= {"sampling.samples": 8}
    store = open_store(out)
    return make_build_plan(load_config(None, settings | given), begun_with(store) if has_begun(store) else None)


def screened(plan: BuildPlan) -> tuple[BuildPlan, Store]:
    """The pass without Ray."""
    store = open_store(plan.config.out)
    for piece in [*sketch_pieces(plan), *(piece for part in key_pieces(plan) for piece in part)]:
        look_at(plan, piece)
    plan = replace(plan, screened=decide(plan, store))
    store.delete_prefix(chunks.CHUNKS)
    return plan, store


async def built(plan: BuildPlan) -> BuildSummary:
    """A finished, verified dataset, without Ray."""
    store = open_store(plan.config.out)
    claim_output(store, plan)
    if plan.screens:
        plan, store = screened(plan)
    for shard in range(plan.config.shards):
        await work_shard(plan, shard, make_engine(plan.config.engine), lambda tally: None)
    summary = finish(store, plan, {"shards": plan.config.shards})
    assert verify(plan.config.out).problems == []
    counts = summary["counts"]
    assert counts["questions"] == plan.rows
    assert counts["questions"] == counts["paired"] + sum(counts["unpaired"].values()) + sum(counts["rejected"].values())
    return summary


def dropped(out: Path) -> list[dict[str, Any]]:
    return read_table(open_store(out), DROPPED).to_pylist()


async def test_what_another_shard_or_source_has_is_dropped_once_and_listed(tmp_path: Path) -> None:
    first = made(tmp_path / "s", "first", [*rows(20), *rows(5)])
    second = made(tmp_path / "s", "second", [*rows(4, first=30), *rows(6, first=3)])
    summary = await built(plan_of(tmp_path / "out", first, second))
    assert summary["counts"]["rejected"] == {"duplicate_question": 11}
    assert summary["sources"]["first"]["rejected"] == {"duplicate_question": 5}
    found = {(row["source"], row["row"]): row for row in dropped(tmp_path / "out")}
    assert set(found) == {("first", i) for i in range(20, 25)} | {("second", i) for i in range(4, 10)}
    assert found["second", 4]["of_source"] == "first"
    assert found["second", 4]["of_row"] == 3
    assert found["second", 4]["source_id"] == "second4"


async def test_without_dedup_nothing_is_compared_over_shards(tmp_path: Path) -> None:
    source = made(tmp_path / "s", "first", [*rows(20), *rows(5)])
    plan = plan_of(tmp_path / "out", source, **{"screening.dedup": False})
    assert not plan.screens
    assert not plan_of(tmp_path / "out", source, shards=1).screens  # in one shard they are found anyhow


async def test_contaminated_questions_are_dropped_listed_counted_and_told(tmp_path: Path) -> None:
    train = made(tmp_path / "s", "train", rows(12))
    bench = made(tmp_path / "e", "bench", [("What is x?", 3, "1"), ("What is y?", 50, "2"), ("z?", 7, "3")],
                 "evaluation", "jpg")  # fmt: skip
    summary = await built(plan_of(tmp_path / "out", train, **{"screening.against": [str(bench)]}))
    assert summary["counts"]["rejected"] == {"contaminated": 2}
    assert [(r["row"], r["of_id"], r["measure"]) for r in dropped(tmp_path / "out")] == [
        (3, "bench0", "image"), (7, "bench2", "image"),
    ]  # fmt: skip
    assert summary["screening"]["contaminated"] == {"bench by image": 2}
    assert list(summary["screening"]["against"]) == ["bench"]
    from mmpr_pipeline.dataset.publish.card import dataset_card

    card = dataset_card(facts_of(tmp_path / "out"), "me/x", "u", 1, 1)
    assert "2 questions dropped that an evaluation set has too (bench by image: 2)." in card
    kept = await built(plan_of(tmp_path / "all", train, **{"screening.decontaminate": False}))
    assert kept["counts"]["rejected"] == {}


async def test_an_evaluation_set_as_a_source_is_kept_with_a_warning(tmp_path: Path) -> None:
    train = made(tmp_path / "s", "train", rows(6))
    bench = made(tmp_path / "e", "bench", rows(6), "evaluation")
    summary = await built(plan_of(tmp_path / "out", train, bench, **{"screening.against": [str(bench)]}))
    assert summary["sources"]["train"]["rejected"] == {"contaminated": 6}
    assert summary["sources"]["bench"]["rejected"] == {}  # what it is like was dropped, so it is nobody's duplicate
    assert "bench is an evaluation set" in summary["warnings"][0]
    part = made(tmp_path / "e", "part", rows(2), "evaluation")
    named = await built(plan_of(tmp_path / "named", bench, **{"screening.against": [str(part)]}))
    assert named["counts"]["rejected"] == {"contaminated": 2}  # asked for by name, an evaluation set is compared too
    assert any("bench is an evaluation set" in told for told in facts_of(tmp_path / "out").warnings)


async def test_a_mixture_takes_the_same_questions_whatever_the_shards(tmp_path: Path) -> None:
    source = made(tmp_path / "s", "first", [*rows(60), *rows(10)])
    asked = []
    for shards in (1, 4):
        out = tmp_path / f"out{shards}"
        summary = await built(plan_of(out, f"{source}:0.5", shards=shards))
        assert summary["counts"]["questions"] == 30 + 10
        assert summary["screening"]["sources"]["first"]["left_out"] == 30
        asked.append({row["source_id"] for row in mmpr_pipeline.load(str(out))})
        sizes = [json.loads(p.read_text())["counts"] for p in (out / "manifests").iterdir()]
        usable = [counts["questions"] - sum(counts["rejected"].values()) for counts in sizes]
        assert max(usable) - min(usable) <= 1
    assert asked[0] == asked[1]


async def test_repeats_are_sampled_anew_and_verify(tmp_path: Path) -> None:
    source = made(tmp_path / "s", "first", rows(9))
    summary = await built(plan_of(tmp_path / "out", f"{source}*3@5"))
    assert summary["counts"]["questions"] == 15
    pairs = list(mmpr_pipeline.load(str(tmp_path / "out")))
    assert len({pair["pair_id"] for pair in pairs}) == len(pairs)
    ids: dict[str, set[str]] = {}
    for pair in pairs:
        ids.setdefault(pair["source_id"], set()).add(pair["question_id"])
    assert max(map(len, ids.values())) == 3
    seeds = Counter((pair["question_id"], pair["seed"]) for pair in pairs)
    assert len({seed for _, seed in seeds}) == len(seeds)


async def test_pairs_made_anew_keep_what_was_dropped_and_the_warnings(tmp_path: Path) -> None:
    train = made(tmp_path / "s", "train", [*rows(12), *rows(3)])
    bench = made(tmp_path / "e", "bench", rows(2), "evaluation")
    before = await built(plan_of(tmp_path / "out", f"{train}*2", **{"screening.against": [str(bench)]}))
    plan = make_rebuild_plan(str(tmp_path / "out"), {"out": str(tmp_path / "again"), "pairing.max_pairs": 1})
    store = open_store(plan.config.out)
    claim_output(store, plan)
    for shard in range(3):
        await work_shard(plan, shard, None, lambda tally: None)
    after = finish(store, plan, {"shards": 3})
    assert verify(tmp_path / "again").problems == []
    assert after["counts"]["rejected"] == before["counts"]["rejected"] == {"contaminated": 4, "duplicate_question": 1}
    assert after["screening"] == before["screening"]
    assert plan.rows == after["counts"]["questions"]


async def test_rows_that_cannot_be_read_stay_counted(tmp_path: Path) -> None:
    source = made(tmp_path / "s", "first", rows(8))
    lines = (tmp_path / "s" / "first.jsonl").read_text().splitlines()
    lines[2] = "{torn"
    (tmp_path / "s" / "first-5.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (tmp_path / "s" / "first.jsonl").write_text("\n".join(lines) + "\n")
    summary = await built(plan_of(tmp_path / "out", source))
    assert summary["counts"]["rejected"] == {"broken_image": 1, "torn_line": 1}


def test_the_pass_goes_on_with_the_pieces_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 4)
    source = made(tmp_path / "s", "first", [*rows(15), *rows(5)])
    _, whole = screened(plan_of(tmp_path / "whole", source))
    plan = plan_of(tmp_path / "broken", source)
    parts = key_pieces(plan)[0]
    assert len(parts) == 5
    for piece in reversed(parts[2:]):
        look_at(plan, piece)
    left = open_store(tmp_path / "broken").list("screening/pieces/")
    assert len(left) == 3
    _, store = screened(plan)
    for key in (DROPPED, STATUS, REPORT):
        assert store.read(key) == whole.read(key)


def test_other_settings_do_not_take_up_an_unfinished_pass(tmp_path: Path) -> None:
    source = made(tmp_path / "s", "first", rows(8))
    plan = plan_of(tmp_path / "out", source)
    store = open_store(tmp_path / "out")
    claim_output(store, plan)
    look_at(plan, key_pieces(plan)[0][0])
    claim_output(store, plan)
    assert len(store.list("screening/")) == 1
    claim_output(store, plan_of(tmp_path / "out", f"{source}:0.5"))
    assert store.list("screening/") == []


def test_the_plan_shows_what_a_mixture_takes(tmp_path: Path) -> None:
    from rich.console import Console

    source = made(tmp_path / "s", "first", rows(10))
    plan = plan_of(tmp_path / "out", f"{source}:0.5*2")
    assert estimate_build(plan).questions == 10
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(estimate_table(plan, estimate_build(plan)))
    text = console.export_text()
    assert "0.5 of it, 2 times each" in text
    assert "upper bounds" in text


def test_a_share_of_no_source_stops_at_once(tmp_path: Path) -> None:
    source = made(tmp_path / "s", "first", rows(3))
    with pytest.raises(ConfigError, match="not a source of this build"):
        plan_of(tmp_path / "out", source, mixture={"frist": {"weight": 0.5}})
    plan = plan_of(tmp_path / "out", source, mixture={"first": {"weight": 0.5}})
    assert plan.identity["mixture"] == {"first": {"weight": 0.5}}
    assert plan.digest != plan_of(tmp_path / "out", source).digest


def test_evaluation_sets_that_cannot_be_had_break_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    source = made(tmp_path / "s", "first", rows(3))
    plan = plan_of(tmp_path / "out", source, **{"screening.against": None})
    assert not plan.against
    assert {"mathvista", "mathvision"} <= set(plan.against.unchecked)
    generated = plan_of(tmp_path / "out", "nano_grid", limit=4, **{"screening.against": None})
    assert not generated.against.unchecked  # what is generated here is in no evaluation set


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


@pytest.mark.usefixtures("cluster")
def test_on_ray_the_bytes_are_the_same_and_begun_outputs_keep_their_rows(tmp_path: Path) -> None:
    train = made(tmp_path / "s", "train", [*rows(20), *rows(4)])
    bench = made(tmp_path / "e", "bench", rows(3), "evaluation")
    given = {"screening.against": [str(bench)]}
    asyncio.run(built(plan_of(tmp_path / "here", f"{train}:0.7", **given)))
    view = Silent()
    run_plan(plan_of(tmp_path / "ray", f"{train}:0.7", workers=2, **given), view)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")
    assert any("screening" in stage for stage in view.stages)
    assert open_store(tmp_path / "ray").list(chunks.CHUNKS) == []
    config = plan_of(tmp_path / "ray", f"{train}:0.7", **given).config
    (tmp_path / "ray" / "manifests" / "00001-of-00003.json").unlink()
    (tmp_path / "ray" / "summary.json").unlink()
    run_build(config, Silent())
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")
    (tmp_path / "ray" / "manifests" / "00001-of-00003.json").unlink()
    (tmp_path / "ray" / REPORT).unlink()
    run_build(config, Silent())  # the evaluation set is named, so the pass can be made again
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")
    with pytest.raises(ConfigError, match=r"screening\.against"):
        run_build(
            config.model_copy(update={"screening": config.screening.model_copy(update={"against": ()})}), Silent()
        )


@pytest.mark.usefixtures("cluster")
def test_what_was_decided_and_is_gone_is_an_error(tmp_path: Path) -> None:
    from mmpr_pipeline.pipeline.plans.evaluation_sets import EvaluationSets
    from mmpr_pipeline.pipeline.plans.screening_pass import screen

    source = made(tmp_path / "s", "first", rows(3))
    plan = replace(
        plan_of(tmp_path / "out", source), against=EvaluationSets((), {"bench": {"rows": 1, "content": "x"}})
    )
    with pytest.raises(StoreError, match="is gone"):
        screen(plan, lambda text: None, lambda plan, pieces, what: None)
