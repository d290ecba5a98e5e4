"""The check of an engine: start, sample, sample again, continue without the image, kill and come back; a line for each.

Its questions are drawn here, so that any machine asks the same ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import PIL.Image
import PIL.ImageDraw

from mmpr_pipeline.core.errors import ItemRejected, MmprError
from mmpr_pipeline.core.records import Image, Question, Rollout, question_id
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineStats, SampleRequest
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.rollouts.prompts import prompt_for, without_images
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed

State = Literal["pass", "FAIL", "info"]
STYLE = "cot-final"


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `info` judges nothing."""

    name: str
    state: State
    text: str


Say = Callable[[Line], None]


@dataclass(frozen=True)
class CheckLoad:
    """What is asked."""

    questions: int = 8
    samples: int = 32
    max_tokens: int = 256


async def check_engine(settings: EngineSettings, load: CheckLoad, notify: Say) -> list[Line]:
    """Look at everything, telling each line as it is known. An engine that does not start ends the check.

    With engine actors (the default of vllm) Ray must be initialised.
    """
    lines: list[Line] = []

    def found(name: str, state: State, text: str) -> None:
        lines.append(Line(name, state, text))
        notify(lines[-1])

    began = time.monotonic()
    try:
        engine = await start_engines(settings)
    except MmprError as error:
        found("start", "FAIL", str(error))
        return lines
    try:
        started = time.monotonic() - began
        info = engine.info
        found("start", "pass", f"{info.model} serves after {started:.0f} s, context {info.context or 'not known'}")
        found("runs on", "info", ", ".join(f"{k} {v}" for k, v in info.runs_on.items()) or "not known")
        held = f"{info.kv_tokens:,} tokens of KV cache" if info.kv_tokens else "KV cache not known"
        found("memory", "info", f"{held}, {info.sequences or 'any number of'} rollouts at once{_gpu_memory()}")
        requests = [_request(question, load) for question in make_questions(load.questions)]

        first, seconds = await _sampled(engine, requests)
        _say_answers("sample", requests, first, seconds, found)
        before = await engine.stats()
        again, seconds = await _sampled(engine, requests)
        after = await engine.stats()
        _say_answers("sample again", requests, again, seconds, found)
        exact = info.runs_on.get("device", "cpu").lower() == "cpu" or settings.reproducible
        _say_equal("same seeds, same texts", first, again, exact, found)
        _say_caches(before, after, found)

        await _continued(engine, requests, first, found)
        if hasattr(engine, "kill"):
            await _killed(engine, requests, first, exact, found)
        else:
            found("kill and restart", "info", "not tried: no engine actors here")
    except Exception as error:
        found("to the end", "FAIL", f"{type(error).__name__}: {error}")
    finally:
        await engine.close()
    return lines


def _request(question: Question, load: CheckLoad, number: int = 0) -> SampleRequest:
    turn = prompt_for(question, STYLE)
    return SampleRequest(
        question=question,
        prompt=turn.text,
        prompt_version=turn.version,
        n=load.samples,
        seed=sampling_seed(0, question.question_id, number),
        decoding=Decoding(max_tokens=load.max_tokens),
    )


Answers = list[list[Rollout] | ItemRejected]


async def _sampled(engine: Engine, requests: Sequence[SampleRequest]) -> tuple[Answers, float]:
    async def one(request: SampleRequest) -> list[Rollout] | ItemRejected:
        try:
            return await engine.sample(request)
        except ItemRejected as reject:
            return reject

    began = time.monotonic()
    answers = list(await asyncio.gather(*map(one, requests)))
    return answers, time.monotonic() - began


def _rollouts(answers: Answers) -> list[Rollout]:
    return [rollout for answer in answers if isinstance(answer, list) for rollout in answer]


def _say_answers(
    name: str, requests: Sequence[SampleRequest], answers: Answers, seconds: float, found: Callable[..., None]
) -> None:
    rejects = [str(answer) for answer in answers if isinstance(answer, ItemRejected)]
    rollouts = _rollouts(answers)
    wanted = sum(request.n for request in requests)
    tokens = sum(rollout.tokens for rollout in rollouts)
    text = f"{len(rollouts)} of {wanted} rollouts in {seconds:.1f} s, {tokens / seconds:,.0f} tokens/s"
    if rejects:
        text += f"; refused: {rejects[0]}"
    elif not any(rollout.text.strip() for rollout in rollouts):
        text += "; all are empty"
    found(name, "pass" if len(rollouts) == wanted and any(r.text.strip() for r in rollouts) else "FAIL", text)


def _say_equal(name: str, one: Answers, two: Answers, exact: bool, found: Callable[..., None]) -> None:
    pairs = list(zip(_rollouts(one), _rollouts(two), strict=False))
    equal = sum(a.text == b.text for a, b in pairs)
    text = f"{equal} of {len(pairs)} texts are equal"
    if exact:
        found(name, "pass" if pairs and equal == len(pairs) else "FAIL", text)
    else:
        found(name, "info", f"{text}; on GPUs they need not be, without engine.reproducible")


def _say_caches(before: EngineStats, after: EngineStats, found: Callable[..., None]) -> None:
    looked, hit = after.prompt_tokens - before.prompt_tokens, after.cached_tokens - before.cached_tokens
    if looked:
        found("prefix cache", "pass" if hit else "FAIL", f"{hit / looked:.0%} of {looked:,} prompt tokens were there")
    else:
        found("prefix cache", "info", "the engine does not tell")
    again = after.preemptions
    found("preemptions", "pass" if not again else "FAIL", f"{again} rollouts lost their place in the KV cache")


def _gpu_memory() -> str:
    """What the GPUs of this machine hold now, as their driver says; nothing where there is none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=index,memory.used,memory.total", "--format=csv,noheader"]
    told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False).stdout
    return "; GPUs here: " + "; ".join(line.strip() for line in told.splitlines() if line.strip())


async def _continued(
    engine: Engine, requests: Sequence[SampleRequest], answers: Answers, found: Callable[..., None]
) -> None:
    if not engine.can_continue:
        found("continue without image", "info", "this engine cannot: no DropNTP pairs")
        return
    tried = kept = 0
    for request, answer in zip(requests, answers, strict=True):
        parent = max(answer, key=lambda rollout: rollout.tokens) if isinstance(answer, list) and answer else None
        if parent is None or parent.tokens < 4:
            continue
        continued = await engine.continue_without_image(
            ContinueRequest(
                question=request.question,
                prompt=without_images(request.prompt),
                prompt_version=request.prompt_version,
                parent=parent,
                ratio=0.5,
                seed=request.seed + 1000,
                index=request.n,
                decoding=request.decoding,
            )
        )
        tried += 1
        prefix = continued.text[: continued.prefix_chars]
        kept += 0 < len(prefix) < len(parent.text) and parent.text.startswith(prefix)
    text = f"{kept} of {tried} keep the first half of their parent"
    found("continue without image", "pass" if tried and kept == tried else "FAIL", text)


async def _killed(
    engine: Engine, requests: Sequence[SampleRequest], before: Answers, exact: bool, found: Callable[..., None]
) -> None:
    """Kill one engine with all questions in flight; they must be answered, and it must come back."""
    running = asyncio.create_task(_sampled(engine, requests))
    await asyncio.sleep(1)
    began = time.monotonic()
    engine.kill(0)  # type: ignore[attr-defined]
    answers, _ = await running
    await engine.settled()  # type: ignore[attr-defined]
    text = f"back after {time.monotonic() - began:.0f} s, {len(_rollouts(answers))} rollouts were answered"
    whole = len(_rollouts(answers)) == sum(request.n for request in requests)
    found("kill and restart", "pass" if whole else "FAIL", text + _gpu_memory())
    _say_equal("same texts after a restart", before, answers, exact, found)


SOURCE = "engine_check"
SIDE = 448
_COLOURS = ("crimson", "seagreen", "royalblue", "goldenrod")


def make_questions(count: int) -> list[Question]:
    """Questions about pictures of coloured circles, each with its own picture."""
    text = "How many circles are in the picture?"
    return [
        Question(
            question_id=question_id(SOURCE, [str(number)], text, ()),
            source=SOURCE,
            source_id=str(number),
            text=text,
            kind="number",
            answer=str(2 + number % 7),
            images=(_picture(number, 2 + number % 7),),
        )
        for number in range(count)
    ]


def _picture(number: int, circles: int) -> Image:
    draws = random.Random(number)
    picture = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    draw = PIL.ImageDraw.Draw(picture)
    cells = draws.sample(range(9), circles)
    for cell in cells:
        x, y = 75 + 149 * (cell % 3), 75 + 149 * (cell // 3)
        radius = draws.randint(25, 60)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=draws.choice(_COLOURS))
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = file.getvalue()
    return Image(sha256=hashlib.sha256(data).hexdigest(), data=data, format="png", width=SIDE, height=SIDE)
