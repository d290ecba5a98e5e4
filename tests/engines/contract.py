"""What every engine promises (`sampling/engine.py`), as checks that the tests of each engine run."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import Awaitable, Callable
from typing import Any

import PIL.Image

from mmpr_pipeline.core.records import Image, Question
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, SampleRequest
from mmpr_pipeline.rollouts.prompts import prompt_text, template_for, without_images
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.records import a_question


def an_image(seed: int = 0, width: int = 112, height: int = 112) -> Image:
    """Noise; equal seeds and sizes give equal files."""
    noise = random.Random(seed).randbytes(width * height * 3)
    file = io.BytesIO()
    PIL.Image.frombytes("RGB", (width, height), noise).save(file, "PNG")
    data = file.getvalue()
    return Image(sha256=hashlib.sha256(data).hexdigest(), data=data, format="png", width=width, height=height)


def seen_question(source_id: str = "q1", **fields: Any) -> Question:
    """A question with one image."""
    return a_question(**{"source_id": source_id, "images": (an_image(),), **fields})


def ask(question: Question, **fields: Any) -> SampleRequest:
    """A request for four rollouts of at most 24 tokens."""
    template = template_for(question, "cot-final")
    base: dict[str, Any] = {
        "question": question,
        "prompt": prompt_text(question, template),
        "prompt_version": template.label,
        "n": 4,
        "seed": 1000,
        "decoding": Decoding(max_tokens=24),
    }
    return SampleRequest(**{**base, **fields})


def ask_on(request: SampleRequest, parent: Any, **fields: Any) -> ContinueRequest:
    """A request to cut a rollout of `request` at half and continue it."""
    base: dict[str, Any] = {
        "question": request.question,
        "prompt": without_images(request.prompt),
        "prompt_version": request.prompt_version,
        "parent": parent,
        "ratio": 0.5,
        "seed": 77,
        "index": 32,
        "decoding": request.decoding,
    }
    return ContinueRequest(**{**base, **fields})


async def indices_and_seeds(engine: Engine) -> None:
    rollouts = await engine.sample(ask(seen_question(), first_index=2, seed=500, round=1, n=3))
    assert [rollout.index for rollout in rollouts] == [2, 3, 4]
    assert [rollout.seed for rollout in rollouts] == [500, 501, 502]
    assert {rollout.round for rollout in rollouts} == {1}


async def provenance(engine: Engine) -> None:
    question = seen_question()
    for rollout in await engine.sample(ask(question)):
        assert rollout.question_id == question.question_id
        assert rollout.prompt_version == "cot-final-en@1"
        assert rollout.model
        assert rollout.parent is None


async def same_request_same_rollouts(engine: Engine) -> None:
    request = ask(seen_question())
    assert await engine.sample(request) == await engine.sample(request)


async def a_round_is_a_slice(engine: Engine) -> None:
    """Two requests of two give the same texts as one of four: seeds belong to rollouts, not to requests."""
    request = ask(seen_question())
    whole = await engine.sample(request)
    first = await engine.sample(ask(seen_question(), n=2))
    second = await engine.sample(ask(seen_question(), n=2, seed=1002, first_index=2))
    assert [rollout.text for rollout in whole] == [rollout.text for rollout in [*first, *second]]


async def company_changes_nothing(engine: Engine) -> None:
    questions = [seen_question(f"q{i}", images=(an_image(i % 3),)) for i in range(1, 9)]
    alone = [await engine.sample(ask(question)) for question in questions]
    together = await asyncio.gather(*(engine.sample(ask(question)) for question in reversed(questions)))
    assert alone == together[::-1]


async def counts_what_it_did(engine: Engine) -> None:
    before = await engine.stats()
    rollouts = await engine.sample(ask(seen_question()))
    after = await engine.stats()
    assert after.requests == before.requests + 1
    assert after.rollouts == before.rollouts + len(rollouts)
    assert after.tokens >= before.tokens + sum(rollout.tokens for rollout in rollouts)
    assert after.in_flight == 0


async def who_gives_up_harms_nobody(engine: Engine) -> None:
    wanted = await engine.sample(ask(seen_question("q2")))
    given_up = [asyncio.ensure_future(engine.sample(ask(seen_question(f"q{i}")))) for i in range(1, 5)]
    kept = asyncio.ensure_future(engine.sample(ask(seen_question("q2"))))
    await asyncio.sleep(0.02)
    for task in given_up:
        task.cancel()
    assert await kept == wanted
    assert await engine.sample(ask(seen_question("q2"))) == wanted


async def a_continuation_keeps_its_prefix(engine: Engine) -> None:
    request = ask(seen_question())
    parent = (await engine.sample(request))[1]
    continued = await engine.continue_without_image(ask_on(request, parent))
    kept = parent.text[: continued.prefix_chars]
    assert 0 < len(kept) < len(parent.text)
    assert continued.text.startswith(kept)
    assert (continued.parent, continued.index, continued.seed) == (1, 32, 77)
    assert continued == await engine.continue_without_image(ask_on(request, parent))


async def a_beginning_is_completed(engine: Engine) -> None:
    """With the image, several times in one request; tokens are those of the completion."""
    request = ask(seen_question("q7"))
    whole = (await engine.sample(request))[0]
    prefix = whole.text[: len(whole.text) // 2]
    made = await engine.sample(ask(seen_question("q7"), n=3, prefix=prefix))
    assert len(made) == 3
    assert all(rollout.text.startswith(prefix) for rollout in made)
    assert all(rollout.tokens <= request.decoding.max_tokens for rollout in made)
    assert made[0].prompt_tokens > 0


async def a_question_is_asked_without_its_image(engine: Engine) -> None:
    """Which is a shorter prompt."""
    seen = ask(seen_question("q8"))
    blind = seen.model_copy(
        update={"prompt": without_images(seen.prompt), "question": seen.question.model_copy(update={"images": ()})}
    )
    [with_image, *_], [without, *_] = await engine.sample(seen), await engine.sample(blind)
    assert without.prompt_tokens < with_image.prompt_tokens or not with_image.prompt_tokens


async def the_ratio_moves_the_cut(engine: Engine) -> None:
    request = ask(seen_question())
    parent = (await engine.sample(request))[0]
    chars = [
        (await engine.continue_without_image(ask_on(request, parent, ratio=r))).prefix_chars for r in (0.25, 0.5, 0.75)
    ]
    assert chars[0] < chars[1] < chars[2]


Check = Callable[[Engine], Awaitable[None]]
SAMPLING: list[Check] = [
    indices_and_seeds,
    provenance,
    same_request_same_rollouts,
    a_round_is_a_slice,
    company_changes_nothing,
    counts_what_it_did,
    who_gives_up_harms_nobody,
]
CONTINUING: list[Check] = [
    a_continuation_keeps_its_prefix,
    the_ratio_moves_the_cut,
    a_beginning_is_completed,
    a_question_is_asked_without_its_image,
]
