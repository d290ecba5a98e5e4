"""How likely a response begins with each of some words: `choice_probabilities(question, image, words)`.

It is a request as any other, so it goes through pools and journals as they are: one rollout of one token, whose text is
the list of probabilities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Question, Rollout
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.rollouts.sampling import Decoding

TOP = 20
"""Likeliest first tokens that are looked at: what servers tell at most."""


async def ask_choice(
    engine: Engine, question: Question, prompt: str, words: Sequence[str], version: str
) -> tuple[Rollout, list[float]]:
    """The rollout of a choice, and the probability of each word as the beginning of the response.

    `question.question_id` and `version` name what is asked: other prompts need others, or a journal would take one for
    another. Words are told apart by their first letters. Raises ItemRejected: no_choice, where the engine has none.
    """
    request = SampleRequest(
        question=question,
        prompt=prompt,
        prompt_version=version,
        n=1,
        seed=0,
        decoding=Decoding(temperature=0, max_tokens=1),
        words=tuple(words),
    )
    [rollout] = await engine.sample(request)
    try:
        found = [float(value) for value in json.loads(rollout.text)]
    except (ValueError, TypeError):
        raise ItemRejected("no_choice", "the engine does not return probabilities") from None
    if len(found) != len(words):
        raise ItemRejected("no_choice", f"{len(found)} probabilities of {len(words)} words")
    return rollout, found


async def choice_probabilities(
    engine: Engine, question: Question, prompt: str, words: Sequence[str], version: str
) -> list[float]:
    """The probabilities of `ask_choice`."""
    return (await ask_choice(engine, question, prompt, words, version))[1]


def probabilities(tokens: Iterable[tuple[str, float]], words: Sequence[str]) -> str:
    """The text of a choice, from the first token's likeliest texts and log-probabilities.

    `Yes`, ` yes` and `YES` are one word; a token that is the beginning of one word only (`y`) counts for it.
    """
    sums = [0.0] * len(words)
    for text, logprob in tokens:
        begun = text.strip().casefold()
        meant = [i for i, word in enumerate(words) if begun and word.casefold().startswith(begun)]
        if len(meant) == 1:
            sums[meant[0]] += math.exp(logprob)
    return json.dumps([round(value, 6) for value in sums])
