"""Step data: how often a response that begins with these steps ends in the right answer (process supervision).

VisualPRM's recipe (Wang et al. 2025, arXiv 2503.10291): a few responses of a question are split into steps; after each
step the model completes the response several times, with the image, and the share of completions that reach the gold
is the step's soft label, an estimate by Monte Carlo as in Math-Shepherd (arXiv 2312.08935). The completions are stored
as rollouts; `mmpr export --to steps` writes the labels.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.pairing.settings import StepSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, options_of, seeded_order
from mmpr_pipeline.rollouts.prompts import STEP, Prompt, aside_label
from mmpr_pipeline.rollouts.sampling import check_rollouts, continuation_seed

_FIRST_SEED = 1 << 20
"""Seeds of completions begin here within a question's part for continuations: below are those of DropNTP."""

_BREAK = re.compile(r"\n[ \t]*\n+|\n")
_SENTENCE = re.compile(r"(?<=[.!?])[ \t]+(?=[A-Z\\$(])|(?<=[。！？])")


class Steps:
    """Completes the beginnings of responses; makes no pair, and is asked beside the other strategies."""

    needs_rollouts = True
    always = True

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`. Applies to questions with an answer, and engines that continue responses."""
        settings = options_of(recipe, "step", StepSettings)
        own = [r for r in rollouts if r.parent is None and r.finish_reason != "length"]
        judged = [r for r in own if r.outcome in ("correct", "incorrect")]
        if question.kind == "none" or not engine.can_continue:
            return Pairs()
        split = [
            (parent, end)
            for parent in seeded_order(judged, recipe.seed, "step")[: settings.responses]
            for end in step_ends(parent.text, settings.steps)[:-1]  # of the whole response the verdict is known
        ]
        first = 1 + max((r.index for r in rollouts), default=-1)
        asked = [
            _completed(question, prompt, parent, end, first + at * settings.samples, settings.samples, engine, recipe)
            for at, (parent, end) in enumerate(split)
        ]
        return Pairs(rollouts=[rollout for completed in await asyncio.gather(*asked) for rollout in completed])


async def _completed(
    question: Question,
    prompt: Prompt,
    parent: CheckedRollout,
    end: int,
    first: int,
    samples: int,
    engine: Engine,
    recipe: Recipe,
) -> list[CheckedRollout]:
    """Completions of the first `end` characters of a response; none where the engine cannot make them."""
    request = SampleRequest(
        question=question,
        prompt=prompt.text,
        prompt_version=aside_label(prompt.version, STEP),
        n=samples,
        seed=continuation_seed(recipe.seed, question.question_id, _FIRST_SEED + first),
        round=parent.round,
        first_index=first,
        decoding=recipe.sampling.decoding,
        prefix=parent.text[:end],
    )
    try:
        made = await engine.sample(request)
    except ItemRejected:
        return []
    placed = [r.model_copy(update={"parent": parent.index, "prefix_chars": end}) for r in made]
    return await asyncio.to_thread(check_rollouts, question, placed, recipe.marks)


def step_ends(text: str, most: int) -> list[int]:
    """Where each step of a response ends, the last at the end of the text; at most `most`.

    Steps are lines; in a response of one line, sentences. Where there are more, neighbours are joined evenly.
    """
    ends = _ends(text, _BREAK)
    if len(ends) == 1:
        ends = _ends(text, _SENTENCE)
    if len(ends) > most:
        ends = [ends[(number + 1) * len(ends) // most - 1] for number in range(most)]
    return ends


def _ends(text: str, mark: re.Pattern[str]) -> list[int]:
    """Ends of the non-blank parts between marks; a mark belongs to the part before it."""
    ends, start = [], 0
    for found in mark.finditer(text):
        if text[start : found.start()].strip():
            ends.append(found.end())
            start = found.end()
    if text[start:].strip() or not ends:
        return [*ends, len(text)]
    return [*ends[:-1], len(text)]
