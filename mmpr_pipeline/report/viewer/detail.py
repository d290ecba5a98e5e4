"""One question for the viewer: its row, rollouts with verdicts and marks, and its pairs, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mmpr_pipeline.dataset.marks import Mark
from mmpr_pipeline.report.differences import Piece, answer_span, compare
from mmpr_pipeline.report.shard_files import ShardFiles

_PAIR = ("pair_id", "strategy", "chosen_index", "rejected_index", "chosen_answer", "rejected_answer", "chosen_rule",
         "rejected_rule", "chosen_tokens", "rejected_tokens", "model", "rejected_model", "prompt_version",
         "checker")  # fmt: skip


def question_detail(files: ShardFiles, row: int, marks: dict[int, Mark]) -> dict[str, Any]:
    """`question`, `images` (sha256, width, height), `rollouts` (with `pieces` and `mark`), and `pairs` without their
    texts. Seeds are strings: they are wider than a number in JavaScript. Raises IndexError where there is no such row.
    """
    question = files.question(row)
    name = question["question_id"]
    sizes = {image: files.size(image) for image in question["images"]}
    return {
        "shard": files.shard,
        "row": row,
        "question": question,
        "images": [{"sha256": i, "width": s[0], "height": s[1]} for i, s in sizes.items() if s],
        "rollouts": [_rollout(r, marks.get(r["index"])) for r in files.rollouts(name)] if name else [],
        "pairs": [{key: pair[key] for key in _PAIR} for pair in files.pairs(name)] if name else [],
    }


def pair_detail(files: ShardFiles, question_id: str, pair_id: str) -> dict[str, Any] | None:
    """Both responses of a pair as pieces; None where there is no such pair."""
    for pair in files.pairs(question_id):
        if pair["pair_id"] == pair_id:
            answers = pair["chosen_answer"], pair["rejected_answer"]
            chosen, rejected = compare(pair["chosen"], pair["rejected"], answers, pair["shared_chars"])
            return {"pair_id": pair_id, "chosen": _plain(chosen), "rejected": _plain(rejected)}
    return None


def _rollout(rollout: dict[str, Any], mark: Mark | None) -> dict[str, Any]:
    text = rollout.pop("text")
    start, stop = answer_span(text, rollout["extracted"])
    kept = rollout["prefix_chars"]
    pieces = [Piece(text[:kept], True), Piece(text[kept:], False)]
    if stop > start:
        pieces = [Piece(text[:start], False), Piece(text[start:stop], False, True), Piece(text[stop:], False)]
    return {
        **rollout,
        "seed": str(rollout["seed"]),
        "pieces": _plain(pieces),
        "mark": mark.model_dump() if mark else None,
    }


def _plain(pieces: list[Piece]) -> list[dict[str, Any]]:
    return [asdict(piece) for piece in pieces if piece.text]
