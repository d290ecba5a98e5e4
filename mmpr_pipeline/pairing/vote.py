"""Vote pairs: for questions without a gold, the answer of a clear majority is chosen over those of the few.

Self-consistency (Wang et al. 2022, arXiv 2203.11171) as a label: no person and no source says that the majority is
right. So it is off unless it is asked for, a pair says so by its strategy and rules, and its `answer` stays null.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice

from mmpr_pipeline.checking import answers_equal, find_answer
from mmpr_pipeline.core.records import CheckedRollout, Question
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.correctness import combinations
from mmpr_pipeline.pairing.settings import VoteSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, make_pair, options_of, seeded_order
from mmpr_pipeline.rollouts.prompts import UNDECIDED_VOTES, Prompt, votable_kind

VERSION = "vote@1"
NO_ANSWER, NO_MAJORITY, UNANIMOUS = UNDECIDED_VOTES


class Vote:
    """Pairs responses that give the majority's answer with those that give another."""

    needs_rollouts = True
    always = False

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`. Applies to questions without an answer."""
        settings = options_of(recipe, "vote", VoteSettings)
        own = [r for r in rollouts if r.parent is None]
        if question.kind != "none" or not own:
            return Pairs()
        kind = votable_kind(question)
        equal = partial(answers_equal, kind=kind, choices=question.choices, question=question.text)
        # Responses by their answers: each joins the first camp whose first answer is not surely another.
        camps: list[list[tuple[CheckedRollout, str]]] = []
        for rollout in own:
            answer = find_answer(question, rollout.text, kind) if rollout.finish_reason != "length" else None
            if answer is None:
                continue
            camp = next((camp for camp in camps if equal(camp[0][1], answer)), None)
            if camp is None:
                camps.append(camp := [])
            camp.append((rollout, answer))
        if not camps:
            return Pairs((), NO_ANSWER)
        first = max(camps, key=len)  # of equal ones the earliest, but no majority has an equal
        votes = f"{len(first)}_of_{len(own)}"
        if len(first) < settings.majority * len(own):
            return Pairs((), NO_MAJORITY)
        most = seeded_order((_voted(r, a, f"majority_{votes}") for r, a in first), recipe.seed, "chosen")
        others = [(r, a) for camp in camps if camp is not first for r, a in camp]
        few = seeded_order((_voted(r, a, "minority") for r, a in others), recipe.seed, "rejected")
        pairs = [
            make_pair(question, prompt.text, one, two, "vote")
            for one, two in islice(combinations(most, few), settings.pairs)
        ]
        return Pairs(pairs, None if pairs else UNANIMOUS)


def _voted(rollout: CheckedRollout, answer: str, rule: str) -> CheckedRollout:
    """The rollout as its pair describes it; what is stored of it stays without a verdict."""
    return rollout.model_copy(update={"extracted": answer, "rule": rule, "checker": VERSION})
