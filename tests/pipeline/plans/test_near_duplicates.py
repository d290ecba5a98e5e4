"""Near-duplicates in builds: dropped once, listed, counted and told; the same bytes however the pass is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.publish.card import dataset_card
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.dataset.review.stats import stats
from mmpr_pipeline.dataset.review.terminal import stats_page
from mmpr_pipeline.pipeline.plans.screening_pass import key_pieces, look_at
from mmpr_pipeline.report.pages.figures import report_figures
from mmpr_pipeline.screening import DROPPED, REPORT, STATUS, chunks
from mmpr_pipeline.storage import open_store
from tests.chaos.inline import Inline, Stopped
from tests.pipeline.made import files_of
from tests.pipeline.plans.test_screening_pass import built, dropped, made, plan_of, rows, screened

NEAR = {"screening.near_duplicates": True}
ROOT = Path(__file__).resolve().parents[3]


def sources(folder: Path) -> tuple[Path, Path]:
    """Two sources; the second has five of the first's rows, figures encoded anew, and a figure with other words."""
    first = made(folder, "first", rows(12))
    again = [*rows(3, first=40), *rows(5), ("What is the length of the third side from the left?", 7, "7")]
    return first, made(folder, "second", again, suffix="jpg")


def figures_of(out: Path, **settings: Any) -> dict[str, Any]:
    return {"sources": [], "out": str(out), "shards": 3, "engine.name": "scripted", "screening.against": [], **settings}


async def test_a_row_that_is_nearly_an_earlier_one_is_dropped_listed_counted_and_told(tmp_path: Path) -> None:
    first, second = sources(tmp_path / "s")
    out = tmp_path / "out"
    summary = await built(plan_of(out, first, second, **NEAR))
    assert summary["counts"]["rejected"] == {"near_duplicate": 5}
    assert summary["sources"]["second"]["rejected"] == {"near_duplicate": 5}
    assert summary["sources"]["first"]["rejected"] == {}
    assert [(r["source"], r["row"], r["of_source"], r["of_row"], r["measure"]) for r in dropped(out)] == [
        ("second", 3 + i, "first", i, "near") for i in range(5)
    ]
    assert all(row["bits"] <= 16 and row["similarity"] == 1.0 for row in dropped(out))
    assert summary["screening"]["near_duplicates"] == {"second of first": 5}
    assert summary["screening"]["sources"]["second"]["near_duplicate"] == 5
    sentence = "5 questions dropped that are nearly those of an earlier row (second of first: 5)."
    assert sentence in dataset_card(facts_of(out), "me/x", "u", 1, 1)
    figures = report_figures(out)
    assert sentence in figures["screening"]
    lost = [reason for reason in figures["lost"] if "near_duplicate" in str(reason)]
    assert lost
    assert any("first row 0" in str(example) for example in figures["examples"].items())
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(stats_page(stats(out)))
    assert "near duplicate" in console.export_text().replace("_", " ")


async def test_near_duplicates_stay_unless_they_are_asked_for(tmp_path: Path) -> None:
    first, second = sources(tmp_path / "s")
    plan = plan_of(tmp_path / "out", first, second)
    screening: Any = plan.identity["screening"]
    assert not [name for name in screening if name.startswith("near_")]
    summary = await built(plan)
    assert summary["counts"]["rejected"] == {}
    assert "near_duplicates" not in summary["screening"]
    alone = plan_of(tmp_path / "alone", first, shards=1, **NEAR)
    assert alone.screens
    assert alone.digest != plan_of(tmp_path / "alone", first, shards=1).digest
    with pytest.raises(ConfigError, match="near_question"):
        plan_of(tmp_path / "alone", first, **{"screening.near_question": 0.2})


async def test_which_row_stays_depends_on_nothing_but_the_order_of_sources(tmp_path: Path) -> None:
    first, second = sources(tmp_path / "s")
    found = []
    for shards in (1, 4):
        await built(plan_of(tmp_path / f"{shards}", first, second, shards=shards, **NEAR))
        found.append(dropped(tmp_path / f"{shards}"))
    assert found[0] == found[1]
    await built(plan_of(tmp_path / "turned", second, first, **NEAR))
    assert {(r["source"], r["row"]) for r in dropped(tmp_path / "turned")} == {("first", i) for i in range(5)}


async def test_exact_duplicates_and_contaminated_rows_are_called_that_and_anchor_nothing(tmp_path: Path) -> None:
    train = made(tmp_path / "s", "train", [*rows(6), *rows(2)])
    near = made(tmp_path / "s", "near", rows(4), suffix="jpg")
    bench = made(tmp_path / "e", "bench", [("What is x?", 3, "1")], "evaluation")
    summary = await built(plan_of(tmp_path / "out", train, near, **NEAR, **{"screening.against": [str(bench)]}))
    assert summary["counts"]["rejected"] == {"duplicate_question": 2, "near_duplicate": 3, "contaminated": 2}
    assert {(r["row"], r["of_row"]) for r in dropped(tmp_path / "out") if r["measure"] == "near"} == {
        (0, 0), (1, 1), (2, 2),
    }  # fmt: skip


async def test_a_stopped_pass_goes_on_and_the_order_of_workers_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ROWS", 4)
    first, second = sources(tmp_path / "s")
    settings = figures_of(tmp_path / "whole", **NEAR, sources=[str(first), str(second)])
    await Inline(settings).run()
    broken = {**settings, "out": str(tmp_path / "broken")}
    with pytest.raises(Stopped):
        await Inline(broken, pieces=2).run()
    assert len(open_store(tmp_path / "broken").list(chunks.CHUNKS)) == 2
    with pytest.raises(Stopped):
        await Inline(broken, requests=5).run()
    await Inline(broken).run()
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")
    plan = plan_of(tmp_path / "other", first, second, **NEAR)
    for piece in reversed([piece for part in key_pieces(plan) for piece in part]):
        look_at(plan, piece)
    _, store = screened(plan)
    whole = open_store(tmp_path / "whole")
    for key in (DROPPED, STATUS):
        assert store.read(key) == whole.read(key)
    assert store.exists(REPORT)


KILLED = """
import asyncio, os, signal, sys
from tests.pipeline.plans import test_near_duplicates as here
from mmpr_pipeline.pipeline.plans import screening_pass
from mmpr_pipeline.screening import chunks
from tests.chaos import inline

chunks.ROWS = 4
left, where, look = int(sys.argv[3]), sys.argv[4], inline.look_at

def looking(plan, piece):
    global left
    left -= 1
    if where == "piece" and left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    look(plan, piece)

inline.look_at = looking
if where == "search":
    from mmpr_pipeline.screening import near_duplicates as near
    near._alike = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
settings = here.figures_of(sys.argv[2], sources=sys.argv[1].split(","), **here.NEAR)
asyncio.run(inline.Inline(settings).run())
"""


@pytest.mark.slow
async def test_kill_9_while_rows_are_looked_at_or_compared_costs_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ROWS", 4)
    paths = [str(path) for path in sources(tmp_path / "s")]
    settings = figures_of(tmp_path / "whole", **NEAR, sources=paths)
    await Inline(settings).run()
    out = tmp_path / "killed"
    for pieces, where in ((3, "piece"), (99, "search")):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, ",".join(paths), str(out), str(pieces), where],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
    await Inline({**settings, "out": str(out)}).run()
    assert files_of(out) == files_of(tmp_path / "whole")
