"""The blind filter: a question that is solved without its image teaches nothing about looking.

Qwen3-VL (2025) drops such questions from its reinforcement learning data. It stands before the strategies that make
pairs, and asks the question without its images first; so nothing is spent on what is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.pairing.settings import BlindSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, options_of
from mmpr_pipeline.rollouts.prompts import BLIND, NO_PARENT, Prompt, aside_label, without_images
from mmpr_pipeline.rollouts.sampling import MAX_ROUNDS, check_rollouts, sampling_seed

SOLVED = "solved_without_image"


class BlindFilter:
    """Stops at questions that are answered without their image; makes no pair."""

    needs_rollouts = False
    always = False

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`; the blind answers are stored. Questions without an image or an answer pass."""
        settings = options_of(recipe, "blind", BlindSettings)
        if not question.images or question.kind == "none" or (engine.info.recorded and not engine.can_continue):
            return Pairs()
        request = SampleRequest(
            question=question.model_copy(update={"images": ()}),
            prompt=without_images(prompt.text),
            prompt_version=aside_label(prompt.version, BLIND),
            n=settings.samples,
            seed=sampling_seed(recipe.seed, question.question_id, MAX_ROUNDS - 1),
            decoding=recipe.sampling.decoding,
        )
        try:
            sampled = await engine.sample(request)
        except ItemRejected:  # nothing is known of it then
            return Pairs()
        answers = [rollout.model_copy(update={"parent": NO_PARENT}) for rollout in sampled]
        checked = check_rollouts(question, answers, {})
        right = sum(rollout.outcome == "correct" for rollout in checked)
        if not checked or right < ceil(settings.solved * len(checked)):
            return Pairs(rollouts=checked)
        detail = f"solved without the image: {right} of {len(checked)}"
        drops = settings.action == "drop"
        return Pairs((), SOLVED if drops else None, checked, detail=detail, last=drops)
