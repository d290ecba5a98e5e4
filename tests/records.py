"""Records made with few words, for tests."""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.core.records import CheckedRollout, Question, Rollout, question_id


def a_question(**fields: Any) -> Question:
    """A question with an answer, no image, unless said otherwise."""
    text = fields.pop("text", "How many circles are there?")
    source_id = fields.pop("source_id", "q1")
    base: dict[str, Any] = {
        "question_id": question_id("test", [source_id], text, fields.get("choices", ())),
        "source": "test",
        "source_id": source_id,
        "text": text,
        "kind": "number",
        "answer": "3",
    }
    return Question(**{**base, **fields})


def a_rollout(question: Question, index: int, text: str, **fields: Any) -> Rollout:
    """A finished rollout."""
    base: dict[str, Any] = {
        "question_id": question.question_id,
        "round": 0,
        "index": index,
        "seed": 100 + index,
        "text": text,
        "tokens": len(text.split()),
        "finish_reason": "stop",
        "model": "test-model",
        "prompt_version": "cot-final-en@1",
    }
    return Rollout(**{**base, **fields})


def a_checked(question: Question, index: int, text: str, outcome: str | None, **fields: Any) -> CheckedRollout:
    """A rollout with a verdict; its extracted answer is its last word."""
    extracted = fields.pop("extracted", text.split()[-1] if text.split() else None)
    verdict = {"outcome": outcome, "extracted": extracted, "rule": "test", "checker": "test@1"}
    plain = a_rollout(question, index, text, **fields)
    return CheckedRollout(**dict(plain), source=question.source, source_id=question.source_id, **verdict)
