"""Feedback pairs: RLAIF-V's divide and conquer (Yu et al. 2024, arXiv 2405.17220), on the build's own engine.

An answer is split into claims, each claim becomes a yes/no question, and the model says how likely it answers yes or
no with the image. An answer's score is minus the number of claims that it denies; answers whose scores differ are a
pair. What DropNTP is compared with: Wang et al. count 993 generated tokens a pair for this, and 571 for DropNTP.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question, content_id
from mmpr_pipeline.engines.choosing import choice_probabilities
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.pairing.dropout_ntp import parents_to_cut
from mmpr_pipeline.pairing.options import FeedbackSettings
from mmpr_pipeline.pairing.pairs import make_pair
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, options_of
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK, Prompt
from mmpr_pipeline.rollouts.settings import Decoding

VERSION = "feedback@1"
WORDS = ("yes", "no")
MOST_CLAIMS = 32
MOST_CHARS = 400
SPLIT = (
    "List the claims that this answer makes about the image, each as a sentence that can be understood alone. Leave "
    "out opinions. One claim a line, each line beginning with a dash.\n\nQuestion: {question}\nAnswer: {answer}"
)
CHECK = 'Is this true of the image? "{claim}"\nAnswer yes or no.'

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+(\S.{0,399})$", re.MULTILINE)


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer, and how many of its claims the model denies."""

    rollout: CheckedRollout
    claims: int
    denied: int


class Feedback:
    """Pairs answers by how many of their claims the model itself denies when it is asked one by one."""

    needs_rollouts = True

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`. Applies where no rollout was wrong, as DropNTP does. Raises ConfigError for wrong options."""
        settings = options_of(recipe, "feedback", FeedbackSettings)
        if not rollouts or not question.images or any(r.outcome == "incorrect" for r in rollouts if r.parent is None):
            return Pairs()
        answers = parents_to_cut(question, rollouts, most=settings.answers, seed=recipe.seed)
        if len(answers) < 2:
            return Pairs((), "too_few_answers")
        try:
            scored = await _score_all(question, answers, engine, settings)
        except ItemRejected as reject:
            return Pairs((), reject.reason)
        chosen = pick(scored, settings.difference, settings.pairs)
        pairs = [make_pair(question, prompt.text, one.rollout, two.rollout, "feedback") for one, two in chosen]
        return Pairs(pairs, None if pairs else "same_scores")


async def _score_all(
    question: Question, answers: Sequence[CheckedRollout], engine: Engine, settings: FeedbackSettings
) -> list[ScoredAnswer]:
    """Every answer scored; a claim that several of them make is asked about once."""
    claims = [split_claims(answer.text) for answer in answers]
    if settings.claims == "model":
        listed = await asyncio.gather(*(_claims_by_model(question, answer, engine) for answer in answers))
        claims = [own or by_rule for own, by_rule in zip(listed, claims, strict=True)]
    distinct = list(dict.fromkeys(claim for own in claims for claim in own))
    judged = await asyncio.gather(*(_denied(question, claim, engine) for claim in distinct))
    denied = dict(zip(distinct, judged, strict=True))
    return [
        ScoredAnswer(answer, len(own), sum(denied[claim] for claim in own))
        for answer, own in zip(answers, claims, strict=True)
    ]


def split_claims(text: str) -> list[str]:
    """The sentences of an answer, each once, at most `MOST_CLAIMS`: claims by a rule, where no model splits them."""
    found = (part.strip(" \t\n-*•")[:MOST_CHARS] for part in _SENTENCE_END.split(text.replace("Final answer:", "\n")))
    return list(dict.fromkeys(claim for claim in found if any(c.isalpha() for c in claim)))[:MOST_CLAIMS]


async def _claims_by_model(question: Question, answer: CheckedRollout, engine: Engine) -> list[str]:
    """The claims that the model lists; none where its list cannot be read."""
    told = {"question": question.text, "answer": answer.text}
    prompt = re.sub(r"\{(question|answer)\}", lambda m: told[m[1]], SPLIT).replace(IMAGE_MARK, "")
    asked = _asked(question, prompt, with_image=False)
    request = SampleRequest(
        question=asked,
        prompt=prompt,
        prompt_version=VERSION,
        n=1,
        seed=0,
        decoding=Decoding(temperature=0, max_tokens=512),
    )
    [rollout] = await engine.sample(request)
    return list(dict.fromkeys(claim.strip() for claim in _BULLET.findall(rollout.text)))[:MOST_CLAIMS]


async def _denied(question: Question, claim: str, engine: Engine) -> bool:
    """Whether no is likelier than yes."""
    prompt = CHECK.replace("{claim}", claim.replace(IMAGE_MARK, ""))
    asked = _asked(question, prompt, with_image=True)
    yes, no = await choice_probabilities(
        engine, asked, f"{IMAGE_MARK}\n" * len(question.images) + prompt, WORDS, VERSION
    )
    return no > yes


def _asked(question: Question, prompt: str, *, with_image: bool) -> Question:
    """A question of its own: a journal tells what is asked by its id."""
    return question.model_copy(
        update={
            "question_id": content_id(question.question_id, VERSION, prompt),
            "text": prompt,
            "kind": "none",
            "answer": None,
            "answers": (),
            "choices": (),
            "images": question.images if with_image else (),
        }
    )


def pick(scored: Sequence[ScoredAnswer], difference: int, most: int) -> list[tuple[ScoredAnswer, ScoredAnswer]]:
    """Pairs (better, worse) whose scores differ enough, none of equal text; lengths kept in balance.

    RLAIF-V drops pairs until chosen and rejected responses are equally long on average. Here those pairs of a question
    are taken whose chosen and rejected responses are most nearly as long in sum, so that length teaches nothing.
    """
    candidates = []
    for one, two in combinations(scored, 2):
        better, worse = (one, two) if one.denied < two.denied else (two, one)
        if worse.denied - better.denied >= difference and one.rollout.text.strip() != two.rollout.text.strip():
            candidates.append((better, worse))

    def unbalanced(pairs: Iterable[tuple[ScoredAnswer, ScoredAnswer]]) -> tuple[int, int]:
        told = list(pairs)
        return abs(sum(map(_excess, told))), -sum(worse.denied - better.denied for better, worse in told)

    return list(min(combinations(candidates, min(most, len(candidates))), key=unbalanced))


def _excess(pair: tuple[ScoredAnswer, ScoredAnswer]) -> int:
    """Characters by which the chosen response is longer than the rejected one."""
    return len(pair[0].rollout.text) - len(pair[1].rollout.text)
