"""What a reader of the report wants to see examples of: rows without a pair, and verdicts that are doubtful."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.marks import read_all
from mmpr_pipeline.dataset.files.summary import finished_shards
from mmpr_pipeline.report.viewer.doubt import WHY, doubts_of, often_overruled
from mmpr_pipeline.storage import Store

EXAMPLES = 3
"""Rows shown of each reason."""
DOUBTED = 12
"""Doubtful verdicts shown."""
BANDS = ("none right", "up to 20%", "20 to 80%", "above 80%", "all right")


def lost_examples(store: Store, shards: int) -> dict[str, list[dict[str, Any]]]:
    """For each reason the first rows without a pair: source, source_id, text (or what was seen of a rejected row)."""
    found: dict[str, list[dict[str, Any]]] = {}
    for shard in finished_shards(store):
        table = ShardFiles(store, shard, shards).questions
        columns = ("status", "reason", "source", "source_id", "text", "detail", "answer")
        for status, reason, source, name, text, detail, answer in zip(
            *(table.column(column).to_pylist() for column in columns), strict=True
        ):
            if status != "paired" and len(rows := found.setdefault(reason or "", [])) < EXAMPLES:
                rows.append({"source": source, "source_id": name, "text": (text or detail)[:300], "answer": answer})
    return found


def doubtful(store: Store, shards: int) -> dict[str, Any]:
    """`counts`: questions by why their most doubtful verdict is doubted; `top`: the most doubtful verdicts with
    question, gold, the answer found, the verdict and its rule. The same order that the viewer's review queue has."""
    counts: Counter[str] = Counter()
    top: list[tuple[int, int, int, int, str]] = []
    overruled = often_overruled(read_all(store))
    for shard in finished_shards(store):
        columns = doubts_of(ShardFiles(store, shard, shards), overruled)
        rows = zip(*(columns[name].data.tolist() for name in ("doubt", "doubt_index", "why")), strict=True)
        found = [(worth, -shard, row, index, WHY[why]) for row, (worth, index, why) in enumerate(rows) if worth]
        counts.update(why for *_, why in found)
        top = sorted([*top, *found], key=lambda one: (-one[0], -one[1], one[2]))[:DOUBTED]
    shown = []
    for worth, place, row, index, why in top:
        files = ShardFiles(store, -place, shards)
        question = files.question(row)
        rollout = next(one for one in files.rollouts(question["question_id"] or "") if one["index"] == index)
        kept = {name: rollout[name] for name in ("outcome", "extracted", "rule")}
        asked = {name: question[name] for name in ("question_id", "source", "source_id", "answer")}
        described = {"text": question["text"][:300], "worth": worth, "index": index, "why": why}
        shown.append({**asked, **kept, **described})
    return {"counts": dict(counts.most_common()), "top": shown}


def solve_bands(rates: dict[str, Any]) -> list[dict[str, Any]]:
    """Questions with checked rollouts by how many of these were right, all sources together: `band` and `questions`."""
    totals = [0] * len(BANDS)
    for found in rates.values():
        low, middle, high = sum(found["bins"][:2]), sum(found["bins"][2:8]), sum(found["bins"][8:])
        for place, number in enumerate((found["none"], low, middle, high, found["all"])):
            totals[place] += number
    return [{"band": b, "questions": n} for b, n in zip(BANDS, totals, strict=True)] if sum(totals) else []
