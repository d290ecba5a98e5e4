"""What a kill between a shard's manifest and the end of its journal leaves does not stay in a finished dataset."""

from __future__ import annotations

from pathlib import Path

from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.output import claim_output, finish, missing_shards
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.storage import Journal, open_store
from tests.pipeline.engines import TextEngine
from tests.pipeline.workers.test_shard import plan_for, quiet, texts


async def test_a_journal_left_by_a_kill_is_removed_when_the_dataset_is_finished(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "out", shards=1)
    store = open_store(plan.config.out)
    claim_output(store, plan)
    await work_shard(plan, 0, TextEngine(texts), quiet)
    with Journal(store, layout.shard_key("journal", 0, 1)).open() as writer:
        writer.append({"question": "q", "step": "sample/0", "rollouts": []})
    assert {p.name for p in verify(store.url).problems} == {"unfinished"}
    assert missing_shards(store, plan) == []
    finish(store, plan, {"shards": 0})
    assert verify(store.url).problems == []
