"""What became of a question, as the records that its shard keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmpr_pipeline.errors import ItemRejected
from mmpr_pipeline.records import CheckedRollout, PreferencePair, Question, QuestionOutcome, QuestionRow, Reject


def rejected(question: Question, prompt: str, reject: ItemRejected) -> QuestionOutcome:
    row = question_row(question, prompt, status="rejected", reason=reject.reason, detail=reject.detail[:500])
    return QuestionOutcome(row=row, images=question.images)


def outcome(
    question: Question,
    prompt: str,
    rollouts: Sequence[CheckedRollout],
    pairs: Sequence[PreferencePair],
    reason: str | None,
) -> QuestionOutcome:
    sampled = [r for r in rollouts if r.parent is None]
    seen = Counter(r.outcome for r in sampled)
    row = question_row(
        question,
        prompt,
        status="paired" if pairs else "unpaired",
        reason=reason,
        pairs=len(pairs),
        rollouts=len(sampled),
        correct=seen["correct"],
        incorrect=seen["incorrect"],
        unparseable=seen["unparseable"],
        rounds=len({r.round for r in sampled}),
        generated_tokens=sum(r.tokens for r in rollouts),
    )
    return QuestionOutcome(row=row, images=question.images, rollouts=tuple(rollouts), pairs=tuple(pairs))


def question_row(question: Question, prompt: str, **outcome: object) -> QuestionRow:
    """The row of a question in the questions file: what was asked, and what became of it."""
    return QuestionRow.model_validate(
        {
            "source": question.source,
            "source_id": question.source_id,
            "question_id": question.question_id,
            "text": question.text,
            "prompt": prompt,
            "choices": question.choices,
            "images": tuple(image.sha256 for image in question.images),
            "kind": question.kind,
            "answer": question.answer,
            "answers": question.answers,
            "unit": question.unit,
            "precision": question.precision,
            "language": question.language,
            "tiles": question.tiles,
            **outcome,
        }
    )


def unread(reject: Reject) -> QuestionOutcome:
    """The outcome of a source row that never became a question."""
    row = QuestionRow(
        source=reject.source,
        source_id=reject.source_id,
        question_id=None,
        status="rejected",
        reason=reject.reason,
        detail=reject.detail,
    )
    return QuestionOutcome(row=row)
