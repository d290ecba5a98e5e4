"""Preset pairs: the source brings both responses and says which one is preferred."""

from __future__ import annotations

from collections.abc import Sequence

from mmpr_pipeline.core.records import CheckedRollout, Question
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.pairs import make_pair
from mmpr_pipeline.pairing.strategy import Pairs, Recipe
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
