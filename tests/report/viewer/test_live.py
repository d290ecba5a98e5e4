from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.report.viewer.live import newest_rollouts, progress
from mmpr_pipeline.storage import Journal, open_store


def said(index: int, text: str) -> dict[str, object]:
    return {"question_id": "a" * 32, "index": index, "round": 0, "text": text, "tokens": 3, "model": "m", "seed": 1}


def test_the_newest_rollouts_come_first_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert newest_rollouts(store) == []
    with Journal(store, layout.shard_key("journal", 1, 4)).open() as journal:
        for number in range(20):
            rollouts = [said(number, f"text {number}")]
            journal.append({"question": "a" * 32, "step": f"sample/{number}", "rollouts": rollouts})
        journal.append({"question": "a" * 32, "step": "sample/20", "reject": ["too_long", ""]})
    (segment,) = tmp_path.glob("journal/*/*.jsonl")
    with open(segment, "ab") as file:
        file.write(b'{"question": "torn')
    found = newest_rollouts(store, 3)
    assert [one["text"] for one in found] == ["text 19", "text 18", "text 17"]
    assert "seed" not in found[0]


@pytest.mark.parametrize("running", [True, False])
def test_progress_is_what_the_build_says_and_its_lease(tmp_path: Path, running: bool) -> None:
    store = open_store(tmp_path)
    assert progress(store) is None
    now = time.time()
    before = {"now": now - 5, "tally": {"tokens": 1000}, "engine": {}}
    tally = {"questions": 7, "pairs": 3, "tokens": 2000}
    word = {"started": now - 60, "rows": 40, "missing": 1, "now": now, "tally": tally, "engine": {}, "before": before}
    store.write(layout.PROGRESS, json.dumps(word).encode())
    with store.lease() if running else nullcontext():
        found = progress(store)
    assert found
    assert (found["questions"], found["rows"], found["pairs"], found["running"]) == (7, 40, 3, running)
    assert found["state"] == ("running" if running else "killed")
    assert found["tokens_per_second"] == pytest.approx(200)
    store.write(layout.PROGRESS, b'{"torn": ')
    assert progress(store) is None
