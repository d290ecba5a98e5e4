"""What `mmpr sources check` finds in the pairs that a source brings itself. Pure, but for the checker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.core.records import PresetPair, Question

if TYPE_CHECKING:
    from mmpr_pipeline.sources.review.findings import Checked

SERIOUS_MISSING = 0.2
"""Share of the questions without a whole pair from which on a build would be wasted."""

SERIOUS_SWAPPED = 0.5
"""Share of the pairs with a gold whose verdicts are the other way round: then the columns are, most likely."""

ONE_SIDED = 0.9
"""Share of the pairs of which one side is the longer one, from which on length is what is learned."""

FEWEST = 10

Pairs = Sequence[tuple[int, Question, PresetPair]]


def judge_pairs(checked: Checked) -> None:
    """Note what is wrong with the pairs of a source whose declaration names chosen and rejected."""
    if not checked.source.declaration.columns.chosen:
        return
    pairs = [(row, question, question.preset) for row, question in checked.questions if question.preset]
    missing = [(row, "") for row, question in checked.questions if not question.preset]
    serious = len(missing) > SERIOUS_MISSING * len(checked.questions)
    checked.found("no_preset_pair", "chosen or rejected is empty, or is no text", missing, serious=serious)
    same = [(row, pair.chosen[:80]) for row, _, pair in pairs if pair.chosen.strip() == pair.rejected.strip()]
    checked.found("same_responses", "chosen and rejected are the same", same)
    # Pairs whose rejected response is right and whose chosen one is wrong, where there is a gold.
    with_gold = [(row, question, pair) for row, question, pair in pairs if question.answer is not None]
    wrong = []
    for row, question, pair in with_gold:
        chosen, rejected = (check_question(question, text) for text in (pair.chosen, pair.rejected))
        if (chosen.outcome, rejected.outcome) == ("incorrect", "correct"):
            wrong.append((row, f'"{chosen.extracted}" is chosen, the gold is "{question.answer}"'[:200]))
    text = "the checker finds rejected right and chosen wrong; are the columns swapped?"
    checked.found("wrong_preference", text, wrong, serious=len(wrong) > SERIOUS_SWAPPED * len(with_gold))
    # One side that is nearly always the longer one.
    longer = [(row, len(pair.chosen) > len(pair.rejected)) for row, _, pair in pairs]
    for side, is_chosen in (("chosen", True), ("rejected", False)):
        rows = [(row, "") for row, chosen in longer if chosen is is_chosen]
        if len(longer) >= FEWEST and len(rows) > ONE_SIDED * len(longer):
            share = len(rows) / len(longer)
            checked.found("length_bias", f"{side} is the longer response in {share:.0%}: length will be learned", rows)
