"""Figures are those of the rows, and the pages show them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import Counts, merge_counts
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.dataset.review.stats import LengthHistogram, stats
from mmpr_pipeline.dataset.review.terminal import bar, human_size, stats_page, summary_page
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_shard


def page(renderable: Any) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_the_summary_is_the_sum_of_the_outcomes(out: Path) -> None:
    summary = summarise(open_store(out), 3)
    outcomes = [make_outcome(n, "bars" if n % 3 else "grids") for n in range(40)]
    counts = summary["counts"]
    assert counts["questions"] == 40
    assert counts["paired"] == sum(o.row.status == "paired" for o in outcomes)
    assert sum(counts["pairs"].values()) == sum(len(o.pairs) for o in outcomes)
    assert sum(counts["rollouts"].values()) == sum(len(o.rollouts) for o in outcomes)
    assert counts["generated_tokens"] == sum(r.tokens for o in outcomes for r in o.rollouts)
    assert merge_counts(Counts(**c) for c in summary["sources"].values()) == Counts(**counts)
    assert summary["bytes"] == sum(p.stat().st_size for p in out.rglob("*.arrow"))


def test_the_summary_page_names_every_figure(out: Path) -> None:
    shown = page(summary_page(summarise(open_store(out), 3)))
    for text in ("40 pairs", "24 questions", "136 rollouts", "bars", "grids", "rejected: broken image", "20.0%"):
        assert text in shown


def test_an_unfinished_dataset_has_no_summary(out: Path) -> None:
    (out / layout.shard_key("manifest", 1, 3)).unlink()
    with pytest.raises(DatasetError, match="Run the same"):
        summarise(open_store(out), 3)


def test_stats_are_those_of_the_pairs(out: Path) -> None:
    figures = json.loads(json.dumps(stats(out)))
    pairs = [p for n in range(40) for p in make_outcome(n, "bars" if n % 3 else "grids").pairs]
    assert [(g["source"], g["strategy"]) for g in figures["groups"]] == sorted({(p.source, p.strategy) for p in pairs})
    for group in figures["groups"]:
        mine = [p for p in pairs if (p.source, p.strategy) == (group["source"], group["strategy"])]
        assert group["pairs"] == len(mine)
        assert group["questions"] == len({p.question_id for p in mine})
        assert group["chosen_tokens"]["mean"] == pytest.approx(np.mean([p.chosen_tokens for p in mine]), abs=0.05)
        assert group["rejected_tokens"]["max"] == max(p.rejected_tokens for p in mine)
        longer = sum(p.chosen_tokens > p.rejected_tokens for p in mine)
        assert group["chosen_longer"] == pytest.approx(longer / len(mine), abs=1e-4)
    assert figures["pairs_per_question"] == {"1": 8, "2": 16}


def test_unknown_token_counts_are_no_figures(tmp_path: Path) -> None:
    outcome = make_outcome(0)
    unknown = {"chosen_tokens": 0, "rejected_tokens": 0, "prompt_tokens": 0}
    pairs = tuple(pair.model_copy(update=unknown) for pair in outcome.pairs)
    write_shard(open_store(tmp_path), 0, 1, [dataclasses.replace(outcome, pairs=pairs)])
    (group,) = stats(tmp_path)["groups"]
    assert group["pairs"] == 2
    assert group["chosen_tokens"]["count"] == 0
    assert group["chosen_longer"] is None
    assert "-" in page(stats_page(stats(tmp_path)))


def test_solve_rates(out: Path) -> None:
    rates = stats(out)["solve_rates"]
    assert sum(found["none"] for found in rates.values()) == 8
    assert sum(found["bins"][5] for found in rates.values()) == 16
    assert sum(found["all"] for found in rates.values()) == 0
    assert sum(sum(found["bins"]) for found in rates.values()) == 16


def test_the_stats_page(out: Path) -> None:
    shown = page(stats_page(stats(out)))
    for text in ("Tokens by source and strategy", "Questions by share of correct rollouts", "50-60%", "unparseable"):
        assert text in shown


@pytest.mark.parametrize("values", [[5], [1, 2, 3, 4], [0, 0, 7], list(range(100))])
def test_lengths_agree_with_numpy(values: list[int]) -> None:
    lengths = LengthHistogram()
    for part in np.array_split(np.array(values), 3):
        lengths.add(part)
    found = lengths.summary()
    assert found["mean"] == pytest.approx(np.mean(values), abs=0.05)
    assert found["p50"] == np.percentile(values, 50, method="inverted_cdf")
    assert found["p95"] == np.percentile(values, 95, method="inverted_cdf")
    assert (found["count"], found["max"]) == (len(values), max(values))


def test_bars_and_sizes() -> None:
    assert bar(0) == ""
    assert bar(1, 4) == "████"
    assert bar(0.5, 4) == "██"
    assert bar(1e-9, 4) == "▏", "what is there is seen"
    assert [human_size(n) for n in (0, 999, 1000, 2_500_000, 7e12)] == ["0 B", "999 B", "1.0 kB", "2.5 MB", "7.0 TB"]
