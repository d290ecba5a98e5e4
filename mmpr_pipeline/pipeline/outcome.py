"""What became of a question, as the records that its shard keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question, QuestionOutcome, QuestionRow, Reject
from mmpr_pipeline.rollouts.asides import generated_tokens


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


def rejected(question: Question, prompt: str, reject: ItemRejected) -> QuestionOutcome:
    """The outcome of a question that no engine could serve; its images are not kept."""
    row = _row(question, prompt, status="rejected", reason=reject.reason, detail=reject.detail[:500], images=())
    return QuestionOutcome(row=row)


def outcome(
    question: Question,
    prompt: str,
    rollouts: Sequence[CheckedRollout],
    pairs: Sequence[PreferencePair],
    reason: str | None = None,
    detail: str = "",
) -> QuestionOutcome:
    """The outcome of a sampled question: paired, or unpaired for a reason."""
    sampled = [r for r in rollouts if r.parent is None]
    seen = Counter(r.outcome for r in sampled)
    row = _row(
        question,
        prompt,
        status="paired" if pairs else "unpaired",
        reason=reason,
        detail=detail[:500],
        images=tuple(image.sha256 for image in question.images),
        pairs=len(pairs),
        rollouts=len(sampled),
        correct=seen["correct"],
        incorrect=seen["incorrect"],
        unparseable=seen["unparseable"],
        rounds=len({r.round for r in sampled}),
        generated_tokens=sum(map(generated_tokens, rollouts)),
    )
    return QuestionOutcome(row=row, images=question.images, rollouts=tuple(rollouts), pairs=tuple(pairs))


_ASKED = (
    "source", "source_id", "question_id", "text", "choices", "kind", "answer", "answers", "unit", "precision",
    "language", "tiles", "instruction",
)  # fmt: skip


def _row(question: Question, prompt: str, **became: object) -> QuestionRow:
    asked = {name: getattr(question, name) for name in _ASKED}
    return QuestionRow.model_validate({**asked, "prompt": prompt, **became})
