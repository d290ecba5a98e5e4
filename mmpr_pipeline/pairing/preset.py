"""Pairs of what a source brings: both responses of a row, or its chosen one, continued without the image (DropNTP)."""

from __future__ import annotations

from collections.abc import Sequence

from mmpr_pipeline.core.records import CheckedRollout, Question
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.dropout_ntp import DropoutNTP
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, make_pair
from mmpr_pipeline.rollouts.prompts import Prompt


class Preset:
    """The first response is chosen and the second rejected, whatever the checker says of them."""

    needs_rollouts = False

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`; the responses come as rollouts 0 and 1."""
        if len(rollouts) < 2:
            return Pairs(reason="no_preset_pair")
        chosen, rejected = rollouts[:2]
        if chosen.text.strip() == rejected.text.strip():
            return Pairs(reason="same_responses")
        return Pairs([make_pair(question, prompt.text, chosen, rejected, "preset")])


class DropoutPreset:
    """Cuts the chosen response of a row and continues it without the image; the row's rejected one is not used.

    So the paper compares DropNTP with feedback.
    """

    needs_rollouts = False

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`; the chosen response becomes rollout 0, and counts as correct."""
        if question.preset is None:
            return Pairs(reason="no_preset_pair")
        chosen = CheckedRollout(
            question_id=question.question_id,
            round=0,
            index=0,
            seed=0,
            text=question.preset.chosen,
            tokens=0,
            finish_reason="recorded",
            model="preset",
            prompt_version=prompt.version,
            source=question.source,
            source_id=question.source_id,
            outcome=None if question.kind == "none" else "correct",
            extracted=None,
            rule=None,
            checker=None,
        )
        made = await DropoutNTP().pair(question, prompt, [chosen], engine, recipe)
        return Pairs(made.pairs, made.reason, [chosen, *made.rollouts] if made.rollouts else ())
