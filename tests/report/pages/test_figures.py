from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.review.stats import LengthHistogram, stats
from mmpr_pipeline.report.pages.figures import _bins, report_figures
from mmpr_pipeline.storage.store import open_store
from tests.dataset.conftest import make_outcome


def lengths_of(counts: dict[int, int]) -> LengthHistogram:
    import numpy as np

    lengths = LengthHistogram()
    lengths.add(np.array([value for value, number in counts.items() for _ in range(number)], np.int64))
    return lengths


def test_figures_agree_with_the_questions_they_were_made_of(out: Path) -> None:
    rows = [make_outcome(n) for n in range(40)]
    figures = report_figures(out)
    paired = sum(o.row.status == "paired" for o in rows)
    assert [step["questions"] for step in figures["funnel"]] == [40, 32, paired]
    assert {row["reason"]: row["questions"] for row in figures["lost"]} == {"broken_image": 8, "no_correct": 8}
    sampled = Counter(o.row.rollouts for o in rows if o.row.rollouts)
    assert figures["rollouts_per_question"] == sampled
    pairs = [p for o in rows for p in o.pairs]
    balance = figures["lengths"]["balance"]
    for key, wins in (("longer", 1), ("shorter", -1), ("equal", 0)):
        found = sum(
            (p.chosen_tokens > p.rejected_tokens) - (p.chosen_tokens < p.rejected_tokens) == wins for p in pairs
        )
        assert sum(group[key] for group in balance) == found, key
    assert sum(b["chosen"] for b in figures["lengths"]["bins"]) == len(pairs)
    assert stats(out).items() <= figures.items(), "everything that `mmpr stats` says is in the report"
    assert json.loads(json.dumps(figures))["counts"] == figures["counts"]


def test_the_run_is_told_where_the_build_noted_it(out: Path) -> None:
    assert report_figures(out)["run"] == {}
    store = open_store(out)
    summary = json.loads(store.read(layout.SUMMARY))
    store.write(layout.SUMMARY, json_bytes(summary | {"run": {"seconds": 12.5, "rollouts": 7, "engine": {}}}))
    assert report_figures(out)["run"] == {"seconds": 12.5, "rollouts": 7}


def test_bins_hold_every_response_on_either_scale() -> None:
    near = dict.fromkeys(range(20, 90), 3)
    far = {1: 50, 2: 40, 30: 5, 900: 5, 20_000: 1}
    assert [_bins(lengths_of(c), lengths_of(c))[0] for c in (near, far)] == ["linear", "log"]
    for counts in (near, far, {0: 4}, {7: 1}):
        _, bins = _bins(lengths_of(counts), lengths_of({5: 2}))
        assert sum(b["chosen"] for b in bins) == sum(counts.values())
        assert sum(b["rejected"] for b in bins) == 2
        assert all(a["to"] == b["from"] for a, b in pairwise(bins))
        assert len(bins) <= 30
    assert _bins(LengthHistogram(), LengthHistogram()) == ("linear", [])
