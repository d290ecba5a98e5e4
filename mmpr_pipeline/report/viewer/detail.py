"""One question for the viewer: its row, rollouts with verdicts and marks, and its pairs, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mmpr_pipeline.core.schemas import PairFields, RolloutFields
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.marks import Mark
from mmpr_pipeline.report.assets import tile_grid
from mmpr_pipeline.report.differences import TextSpan, answer_span, compare_texts
from mmpr_pipeline.report.viewer.origin import SourceRow

_PAIR = ("pair_id", "strategy", "chosen_index", "rejected_index", "chosen_answer", "rejected_answer", "chosen_rule",
         "rejected_rule", "chosen_tokens", "rejected_tokens", "model", "rejected_model", "prompt_version",
         "checker")  # fmt: skip


def question_detail(files: ShardFiles, row: int, marks: dict[int, list[Mark]]) -> dict[str, Any]:
    """`question`, `images` (sha256, width, height, and the `tiles` across and down that a model of InternVL's kind
    sees), `rollouts` (with `pieces` and `marks`), and `pairs` without their texts. Seeds are strings: they are wider
    than a number in JavaScript. Raises IndexError where there is no such row.
    """
    question = files.question(row)
    name = question["question_id"]
    sizes = [(image, files.size(image)) for image in question["images"]]
    return {
        "shard": files.shard,
        "row": row,
        "question": question,
        "images": [
            {"sha256": i, "width": s[0], "height": s[1], "tiles": tile_grid(*s, question["tiles"])}
            for i, s in sizes
            if s
        ],
        "rollouts": [rollout_detail(r, marks.get(r["index"], [])) for r in files.rollouts(name)] if name else [],
        "pairs": [{key: value for key, value in pair.items() if key in _PAIR} for pair in files.pairs(name)]
        if name
        else [],
    }


def origin_detail(origin: SourceRow, tiles: int) -> dict[str, Any]:
    """What a rejected row is shown with beside its reason: `raw`, the row as its source holds it, and `images`."""
    return {
        "raw": origin.raw,
        "images": [
            {"sha256": i.sha256, "width": i.width, "height": i.height, "tiles": tile_grid(i.width, i.height, tiles)}
            for i in origin.images
        ],
    }


def pair_detail(files: ShardFiles, question_id: str, pair_id: str) -> dict[str, Any] | None:
    """Both responses of a pair as pieces; None where there is no such pair."""
    for pair in files.pairs(question_id):
        if pair["pair_id"] == pair_id:
            return {"pair_id": pair_id, **pair_pieces(pair)}
    return None


def pair_pieces(pair: PairFields) -> dict[str, Any]:
    """Both responses of a row of the pairs file, as pieces."""
    answers = pair["chosen_answer"], pair["rejected_answer"]
    chosen, rejected = compare_texts(pair["chosen"], pair["rejected"], answers, pair["shared_chars"])
    return {"chosen": _plain(chosen), "rejected": _plain(rejected)}


def rollout_detail(rollout: RolloutFields, marks: list[Mark]) -> dict[str, Any]:
    """A row of the rollouts file with its text cut into pieces."""
    text = rollout["text"]
    start, stop = answer_span(text, rollout["extracted"])
    kept = rollout["prefix_chars"]
    pieces = [TextSpan(text[:kept], True), TextSpan(text[kept:], False)]
    if stop > start:
        pieces = [TextSpan(text[:start], False), TextSpan(text[start:stop], False, True), TextSpan(text[stop:], False)]
    return {
        **{name: value for name, value in rollout.items() if name != "text"},
        "seed": str(rollout["seed"]),
        "pieces": _plain(pieces),
        "marks": [mark.model_dump() for mark in marks],
    }


def _plain(pieces: list[TextSpan]) -> list[dict[str, Any]]:
    return [asdict(piece) for piece in pieces if piece.text]
