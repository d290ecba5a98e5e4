"""The scripted engine: a deterministic fake model, so that the whole pipeline can be tested in seconds.

Every rollout is a pure function of the script and the request. A question is right at the script's rate, except for a
share of questions that are always right or always wrong. The fault settings (a refused question, a process that kills
itself) are for tests of what a build survives.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import re
import signal
import string
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from mmpr_pipeline.core.errors import ConfigError, EngineError, ItemRejected
from mmpr_pipeline.core.records import FinishReason, Question, Rollout
from mmpr_pipeline.engines.engine import (
    ContinueRequest,
    EngineInfo,
    EngineStats,
    SampleRequest,
    probabilities,
    request_name,
)
from mmpr_pipeline.engines.registry import EngineKind
from mmpr_pipeline.engines.scripted.script import EN_SENTENCES, FAULTS, OTHER_WORDS, ZH_SENTENCES, Script
from mmpr_pipeline.rollouts.prompts import BLIND, THINK_END, THINK_START, THINKS, aside_of

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_EN_WORDS, _ZH_CHARS = 7, 10  # about how many tokens one sentence has
_TOKEN = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|[^\s\u3000-\u9fff\uff00-\uffef]+\s*|\s+")
_MASK = 2**64 - 1


def parse_script(script: Mapping[str, object]) -> Script:
    """The script of the settings; raises ConfigError naming each setting that is wrong."""
    try:
        parsed = Script.model_validate(script)
    except ValidationError as error:
        lines = [f"engine.script.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n    ".join(lines), remedy=f"Known: {', '.join(Script.model_fields)}.") from None
    if parsed.kill_after is not None and not parsed.kill_marker:
        raise ConfigError("engine.script.kill_after needs kill_marker", remedy="Name a file that may be created.")
    return parsed


class ScriptedEngine:
    """Serves requests from a script."""

    can_continue = True

    def __init__(self, script: Script, sequences: int | None = None) -> None:
        """`sequences`: rollouts decoded at once; what is above waits. No limit if not given."""
        if script.refuse_while and Path(script.refuse_while).exists():
            raise EngineError("The script refuses to start.", remedy=f"Remove {script.refuse_while}.")
        time.sleep(script.load_latency)
        self._script = script
        self._stats = EngineStats(capacity=sequences or 0)
        self._salt = int.from_bytes(os.urandom(8), "big") if script.noise else 0
        self._sequences = sequences
        self._running = 0
        self._changed = asyncio.Condition()
        self.info = EngineInfo(
            engine="scripted", model="scripted", context=None, can_continue=True, sequences=sequences
        )

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """`request.n` rollouts; raises ItemRejected for the questions of `fail_on`."""
        await self._decode(request.n, request.question.source_id)
        question, script = request.question, self._script
        of_question = _digest(question.question_id)
        draw = (of_question >> 11) / 2**53
        if aside_of(request.prompt_version) == BLIND:
            rate = script.blind_rate
        elif draw < script.extremes:  # a question that is always right or always wrong
            rate = float(draw < script.extremes * script.solve_rate)
        else:
            rate = script.solve_rate
        greedy = request.decoding.temperature == 0
        prompt_tokens = 256 * len(question.images) + len(request.prompt.split())
        rollouts = []
        for i in range(request.n):
            bits = _mix(of_question ^ _mix(0 if greedy else (request.seed + i) ^ self._salt))
            text, tokens, finish = self._response(request, bits, rate)
            rollouts.append(request.rollout(i, text, tokens, finish, self.info.model, prompt_tokens=prompt_tokens))
        if request.words:
            bits = _digest(f"{question.question_id}/{request.prompt_version}/{request.prompt}")
            chances = (((bits >> 13 * i) & 0xFFF) / 2**12 or 1e-9 for i in range(len(request.words)))
            logs = (math.log(chance / len(request.words)) for chance in chances)
            told = probabilities(zip(request.words, logs, strict=True), request.words)
            rollouts = [rollouts[0].model_copy(update={"text": told, "tokens": 1})]
        tokens = sum(rollout.tokens for rollout in rollouts)
        self._served(f"{question.question_id} {request_name(request)}", request.n, tokens)
        return rollouts

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """The first `ratio` of the parent's words and characters, then prose; needs a parent of two tokens."""
        await self._decode(1, request.question.source_id)
        parent = request.parent
        pieces = _TOKEN.findall(parent.text)
        kept = int(len(pieces) * request.ratio)
        if kept < 1:
            raise ItemRejected("too_short_to_cut", f"{len(pieces)} tokens")
        prefix = "".join(pieces[:kept])
        bits = _mix(_digest(parent.text) ^ _mix(request.seed ^ self._salt))
        rest = _prose(bits, self._script.tokens // 2 + 1, request.question.language)
        rest += THINK_END if THINK_START in prefix and THINK_END not in prefix else ""
        text, tokens, finish = _clip(prefix + rest, kept + request.decoding.max_tokens)
        self._served(f"{request.question.question_id} continue/{parent.index}", 1, tokens - kept)
        prompt_tokens = len(request.prompt.split())
        return request.rollout(prefix, text, tokens, finish, self.info.model, prompt_tokens=prompt_tokens)

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        return replace(self._stats)

    async def close(self) -> None:
        """Nothing is held."""

    def _served(self, request: str, rollouts: int, tokens: int) -> None:
        self._stats.requests += 1
        self._stats.rollouts += rollouts
        self._stats.tokens += tokens
        if self._script.log:
            with Path(self._script.log).open("a") as log:  # one short write: lines of several processes do not mix
                log.write(request + "\n")

    def _response(self, request: SampleRequest, bits: int, rate: float) -> tuple[str, int, FinishReason]:
        script, question = self._script, request.question
        # Three independent draws from one 64-bit number: right or wrong, parseable or not, which chain of thought.
        chance, parseable = (bits & 0xFFFFF) / 2**20, ((bits >> 20) & 0xFFFF) / 2**16
        chain = _mix(bits) % script.variety
        text = _prose(_mix(chain), script.tokens, question.language)
        asked = question if question.answer is not None else _voted_on(question, request.prompt_version)
        if asked is not None:
            if parseable < script.unparseable_rate:
                text += _ending_without_answer(question.language)
            else:
                answer = asked.answer or "" if chance < rate else _wrong_answer(asked, _mix(bits + 1))
                sloppy = (_mix(bits + 2) & 0xFFFF) / 2**16 < script.sloppy_rate
                style = request.prompt_version
                if sloppy:
                    text = f"{text} The answer is {answer}."
                elif style.startswith("direct"):
                    text = answer
                else:  # the chain of thought with its answer, stated as the prompt's style asks
                    text = f"{THINK_START}{text}{THINK_END}" if style.startswith(THINKS) else text
                    final = "最终答案：" if "-zh" in style else "Final answer: "
                    text = f"{text}\n\\boxed{{{answer}}}" if "boxed" in style else f"{text}\n{final}{answer}"
        text, tokens, finish = _clip(text, request.decoding.max_tokens)
        return request.prefix + text, tokens, finish

    async def _decode(self, rollouts: int, source_id: str) -> None:
        """Wait for a place for these rollouts among those decoded at once, and take the time that the script gives.

        More than the engine bears kill it, and so do the script's faults.
        """
        async with self._changed:
            if self._sequences:
                most = self._sequences
                await self._changed.wait_for(lambda: not self._running or self._running + rollouts <= most)
            self._running += rollouts
        script, self._stats.sequences = self._script, self._running
        try:
            if script.memory and min(self._running, self._sequences or self._running) > script.memory:
                raise EngineError("CUDA out of memory (by the script).")
            if script.crowd and self._running > script.crowd:
                await asyncio.sleep(script.latency / 2)
                os.kill(os.getpid(), signal.SIGKILL)
            if script.fail_while and Path(script.fail_while).exists():
                raise EngineError("The script fails.", remedy=f"Remove {script.fail_while}.")
            if script.latency:
                await asyncio.sleep(script.latency)
            if source_id in script.fail_on:
                raise ItemRejected(script.fail_reason, "refused by the script")
            if source_id in script.crash_on:
                os.kill(os.getpid(), signal.SIGKILL)
            hangs = script.hang_once and self._stats.requests >= 2 and _first(script.hang_once)
            if source_id in script.hang_on or hangs:
                time.sleep(1e6)  # blocks the whole loop, as an engine that hangs in native code does
            kills = script.kill_after is not None and self._stats.requests >= script.kill_after
            if kills and _first(script.kill_marker or ""):
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            async with self._changed:
                self._running -= rollouts
                self._stats.sequences = self._running
                self._changed.notify_all()


def _voted_on(question: Question, prompt_version: str) -> Question | None:
    """An open-ended question that is asked for a final answer, with what most responses say; else None."""
    if not prompt_version.startswith(("cot-", "direct-")):
        return None
    most = "A" if question.choices else str(_digest(question.question_id) % 17)
    return question.model_copy(update={"answer": most, "kind": "choice" if question.choices else "number"})


def _first(marker: str) -> bool:
    """Whether this is the first of all engines to get here: one fault, however many engines there are."""
    try:
        Path(marker).touch(exist_ok=False)  # atomic
    except FileExistsError:
        return False
    return True


def _prose(bits: int, tokens: int, language: str) -> str:
    """Sentences of about `tokens` tokens chosen by `bits`; the first names a number, so that chains rarely repeat."""
    sentences, size, gap = (ZH_SENTENCES, _ZH_CHARS, "") if language == "zh" else (EN_SENTENCES, _EN_WORDS, " ")
    value = bits >> 40
    opening = f"设这个值为{value}。" if language == "zh" else f"Let the value be {value}."
    chosen = [sentences[(bits >> (4 * (i % 10)) ^ i) & 15] for i in range(max(tokens // size - 1, 0))]
    return gap.join([opening, *chosen])


def _ending_without_answer(language: str) -> str:
    """An ending without an answer."""
    return "我无法确定。" if language == "zh" else " It cannot be told from this."


def _wrong_answer(question: Question, bits: int) -> str:
    """An answer that someone could have given: another choice, another number, the opposite, another word."""
    gold = question.answer or ""
    if len(question.choices) > 1:
        letters = string.ascii_uppercase[: len(question.choices)]
        right = gold.strip().upper()
        others = [
            letter
            for letter, choice in zip(letters, question.choices, strict=False)
            if letter != right and choice != gold.strip()
        ]
        return others[bits % len(others)] if others else "none of these"
    if question.kind == "yes_no":
        return "no" if gold.strip().lower() in {"yes", "true", "1"} else "yes"
    number = _NUMBER.search(gold)
    if number:
        decimals = len(number[0].partition(".")[2])
        units = round(float(number[0]) * 10**decimals)
        # A slip of at least a tenth: no tolerance takes it for right.
        other = f"{(units + (1 + bits % 9) * max(units // 5, 1)) / 10**decimals:.{decimals}f}"
        return gold[: number.start()] + other + gold[number.end() :]
    golds = {gold.strip().lower(), *(a.strip().lower() for a in question.answers)}
    others = [word for word in OTHER_WORDS if word.lower() not in golds]
    return others[bits % len(others)]


def _clip(text: str, max_tokens: int) -> tuple[str, int, FinishReason]:
    tokens = len(text.split()) if text.isascii() else len(_TOKEN.findall(text))
    if tokens <= max_tokens:
        return text, tokens, "stop"
    return "".join(_TOKEN.findall(text)[:max_tokens]), max_tokens, "length"


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _mix(x: int) -> int:
    """One step of SplitMix64 (Steele, Lea and Flood 2014): a well-spread 64-bit number from any integer."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


KIND = EngineKind(
    make=lambda settings: ScriptedEngine(parse_script(settings.script), settings.max_num_seqs),
    identity=lambda settings: {
        "name": "scripted", "script": {name: value for name, value in settings.script.items() if name not in FAULTS}
    },
)  # fmt: skip
