"""Feedback pairs: RLAIF-V's divide and conquer (Yu et al. 2024, arXiv 2405.17220), on the build's own engine.

An answer is split into claims, each claim becomes a yes/no question, and the model says how likely it answers yes or
no with the image; or, where a model needs to reason before it can tell, answers some times, and the majority counts. An
answer's score is minus the number of claims that the model denies; answers whose scores differ are a pair. What DropNTP
is compared with: Wang et al. count 993 generated tokens a pair for this, and 571 for DropNTP.

What was asked is stored beside the question's rollouts: of each claim a rollout whose text is [P(yes), P(no)], or each
answer that reasoned, with the claim as `extracted` and `denied` or `upheld` as `rule` (an answer that says neither has
none); of each list that the model made, its text. So tokens are counted, scores can be looked at, and a rebuild from
rollouts scores again without an engine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from mmpr_pipeline.checking import check
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question, Rollout, content_id
from mmpr_pipeline.engines.engine import Engine, SampleRequest, ask_choice
from mmpr_pipeline.pairing.dropout_ntp import parents_to_cut
from mmpr_pipeline.pairing.settings import FeedbackSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, make_pair, options_of
from mmpr_pipeline.rollouts.prompts import (
    CLAIM,
    CLAIMS,
    IMAGE_MARK,
    NO_PARENT,
    TEMPLATES,
    Prompt,
    aside_label,
    place_images,
)
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed

WORDS = ("yes", "no")
MOST_CLAIMS = 32
MOST_CHARS = 400
SPLIT = (
    "List the claims that this answer makes about the image, each as a sentence that can be understood alone. Leave "
    "out opinions. One claim a line, each line beginning with a dash.\n\nQuestion: {question}\nAnswer: {answer}"
)
CHECK = 'Is this true of the image? "{claim}"'
FIRST_WORD = "Answer yes or no."
REASONING = TEMPLATES["cot-final-en"].suffix

_LISTED = re.compile(r",\s+(?:and\s+)?(?=(?:an?|one|two|three|four|five|six|several|\d{1,3})\s)|\s+and\s+(?=(?:an?)\s)")
"""Where a sentence goes on with the next thing of a list: `a dog, two cats and a ball`."""
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
        asking = Asking(question, prompt, engine, settings, recipe.seed)
        try:
            scored = await asking.scored(answers)
        except ItemRejected as reject:
            return Pairs((), reject.reason, asking.asked)
        chosen = pick(scored, settings.difference, settings.pairs)
        pairs = [make_pair(question, prompt.text, one.rollout, two.rollout, "feedback") for one, two in chosen]
        in_order = sorted(scored, key=lambda each: each.rollout.index)
        scores = ", ".join(f"{each.rollout.index}: {each.denied} of {each.claims}" for each in in_order)
        return Pairs(pairs, None if pairs else "same_scores", asking.asked, f"claims denied, by answer: {scores}")


class Asking:
    """What is asked of the model about one question's answers; `asked` keeps it as rollouts beside the question's."""

    def __init__(
        self, question: Question, prompt: Prompt, engine: Engine, settings: FeedbackSettings, seed: int
    ) -> None:
        self._question, self._label, self._engine = question, prompt.version, engine
        self._settings, self._seed = settings, seed
        self.asked: list[CheckedRollout] = []

    async def scored(self, answers: Sequence[CheckedRollout]) -> list[ScoredAnswer]:
        """Every answer scored; a claim that several of them make is asked about once. Raises ItemRejected."""
        claims = [split_claims(answer.text) for answer in answers]
        if self._settings.claims == "model":
            listed = await asyncio.gather(*(self._listed(answer) for answer in answers))
            self.asked += [self._kept(rollout, None, None) for rollout in listed]
            by_model = [list(dict.fromkeys(claim.strip() for claim in _BULLET.findall(r.text))) for r in listed]
            claims = [own[:MOST_CLAIMS] or by_rule for own, by_rule in zip(by_model, claims, strict=True)]
        distinct = list(dict.fromkeys(claim for own in claims for claim in own))
        denied = await self.denied(distinct)
        return [
            ScoredAnswer(answer, len(own), sum(denied[claim] for claim in own))
            for answer, own in zip(answers, claims, strict=True)
        ]

    async def denied(self, claims: Sequence[str]) -> dict[str, bool]:
        """Whether the model denies each of these claims, all different. Raises ItemRejected."""
        ask = self._judged if self._settings.verify == "first_word" else self._reasoned
        judged = await asyncio.gather(*(ask(claim) for claim in claims))
        self.asked += [rollout for rollouts, _ in judged for rollout in rollouts]
        return {claim: no > yes for claim, (_, (yes, no)) in zip(claims, judged, strict=True)}

    async def _listed(self, answer: CheckedRollout) -> Rollout:
        """The model's list of an answer's claims."""
        texts = {"question": self._question.text, "answer": answer.text}
        prompt = re.sub(r"\{(question|answer)\}", lambda m: texts[m[1]], SPLIT).replace(IMAGE_MARK, "")
        request = SampleRequest(
            question=self._question.model_copy(update={"images": ()}),
            prompt=prompt,
            prompt_version=aside_label(self._label, CLAIMS, content_id(prompt)[:16]),
            n=1,
            seed=0,
            decoding=Decoding(temperature=0, max_tokens=512),
        )
        return (await self._engine.sample(request))[0]

    async def _judged(self, claim: str) -> tuple[list[CheckedRollout], Sequence[float]]:
        """The probabilities of yes and of no as the first word, with the image."""
        prompt, label = self._about(claim, FIRST_WORD)
        rollout, (yes, no) = await ask_choice(self._engine, self._question, prompt, WORDS, label)
        return [self._kept(rollout, claim, "denied" if no > yes else "upheld")], (yes, no)

    async def _reasoned(self, claim: str) -> tuple[list[CheckedRollout], Sequence[float]]:
        """The answers that reason first and end in yes, and those that end in no, with the image."""
        prompt, label = self._about(claim, REASONING)
        votes = self._settings.votes
        request = SampleRequest(
            question=self._question,
            prompt=prompt,
            prompt_version=label,
            n=votes,
            seed=sampling_seed(self._seed, content_id(self._question.question_id, prompt), 0),
            decoding=Decoding(temperature=0 if votes == 1 else 1, max_tokens=512),
        )
        kept = []
        for rollout in await self._engine.sample(request):
            # "I cannot tell" is neither, though a checker whose gold is yes calls it incorrect.
            yes, no = (check(rollout.text, gold=word, kind="yes_no").outcome == "correct" for word in WORDS)
            rule = "upheld" if yes else "denied" if no else None
            kept.append(self._kept(rollout, claim, rule if rollout.finish_reason == "stop" else None))
        rules = [rollout.rule for rollout in kept]
        return kept, (rules.count("upheld"), rules.count("denied"))

    def _about(self, claim: str, ending: str) -> tuple[str, str]:
        """The prompt that asks about a claim, and its label."""
        prompt = place_images(f"{claim_prompt(claim)}\n{ending}", len(self._question.images))
        return prompt, aside_label(self._label, CLAIM, content_id(prompt)[:16])

    def _kept(self, rollout: Rollout, claim: str | None, rule: str | None) -> CheckedRollout:
        fields = {**rollout.model_dump(), "parent": NO_PARENT, "source": self._question.source}
        fields |= {"source_id": self._question.source_id, "outcome": None, "extracted": claim, "rule": rule}
        return CheckedRollout(**fields, checker=None)


def claim_prompt(claim: str) -> str:
    """How the model is asked about a claim; the image comes before it, how to answer after it."""
    return CHECK.replace("{claim}", claim.replace(IMAGE_MARK, ""))


def split_claims(text: str) -> list[str]:
    """The sentences of an answer, and the things that one lists, each once, at most `MOST_CLAIMS`: claims by a rule,
    where no model splits them."""
    sentences = _SENTENCE_END.split(text.replace("Final answer:", "\n"))
    parts = (part for sentence in sentences for part in _LISTED.split(sentence))
    found = (part.strip(" \t\n-*•")[:MOST_CHARS] for part in parts)
    return list(dict.fromkeys(claim for claim in found if any(c.isalpha() for c in claim)))[:MOST_CLAIMS]


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
        taken = list(pairs)
        # Characters by which the chosen responses are longer than the rejected ones.
        excess = sum(len(better.rollout.text) - len(worse.rollout.text) for better, worse in taken)
        return abs(excess), -sum(worse.denied - better.denied for better, worse in taken)

    return list(min(combinations(candidates, min(most, len(candidates))), key=unbalanced))
