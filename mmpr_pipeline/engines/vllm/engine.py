"""The vLLM engine: continuous batching over all questions in flight, one request for the n rollouts of a question.

Images are decoded and cut into tiles in other threads than the one that steps the engine, so that the next questions
are ready when a place in the batch falls free. A step is hundreds of short calls that give up the interpreter's lock;
with Python's usual 5 ms until a thread that wants it back gets it, one busy preparing thread stretched a step from
0.1 s to 2.5 s.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from mmpr_pipeline.core.errors import EngineError, ItemRejected, require
from mmpr_pipeline.core.records import FinishReason, Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest, probabilities
from mmpr_pipeline.engines.registry import EngineKind
from mmpr_pipeline.engines.settings import EngineSettings, deciding_options, label_suffix
from mmpr_pipeline.engines.vllm.load import load_engine, reproducible_identity, runs_on
from mmpr_pipeline.engines.vllm.prompts import DecodedImages, KeptTokens, Prepared, PromptBuilder
from mmpr_pipeline.engines.vllm.stepping import Stepper
from mmpr_pipeline.models.convert.first_use import native, native_label
from mmpr_pipeline.models.resolve import resolve_model

SWITCH_SECONDS = 0.0002
"""Longest time that a preparing thread keeps the interpreter's lock from the one that steps."""


class VllmEngine:
    """Loads the model when it is made (tens of seconds), then serves from any event loop of this process."""

    can_continue = True

    def __init__(self, settings: EngineSettings) -> None:
        began = time.monotonic()
        found = resolve_model(settings.model, settings.revision)
        # An original InternVL is converted to the native format unless its own code may run.
        model = found if settings.trust_remote_code else native(found)
        self._stepper = Stepper(lambda: load_engine(settings, model))
        engine = self._stepper.engine()
        self._tokenizer: Any = engine.get_tokenizer()
        self._prompts = PromptBuilder(engine)
        self._engine = engine
        sys.setswitchinterval(SWITCH_SECONDS)
        self._preparing = ThreadPoolExecutor(max_workers=2, thread_name_prefix="vllm-prepare")
        self._images = DecodedImages()
        self._ids = itertools.count()
        sequences = engine.vllm_config.scheduler_config.max_num_seqs
        self._stats = EngineStats(capacity=sequences, load_seconds=round(time.monotonic() - began, 1))
        self.info = EngineInfo(
            engine="vllm",
            model=model.label + label_suffix(settings.options),
            context=self._prompts.context,
            can_continue=True,
            sequences=sequences,
            kv_tokens=engine.vllm_config.cache_config.kv_cache_size_tokens,
            runs_on=runs_on(engine),
        )

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`; raises ItemRejected for prompts that the model cannot take."""
        prepared = await self._in_thread(self._prepare_sample, request)
        output = await self._generate(prepared)
        if request.words:
            # How likely the response begins with each of the words.
            completion = output.outputs[0]
            first: dict[int, Any] = completion.logprobs[0] if completion.logprobs else {}
            told = [(str(self._tokenizer.decode([token])), float(found.logprob)) for token, found in first.items()]
            rollout = self._rollout(request, prepared, 0, completion)
            return [rollout.model_copy(update={"text": probabilities(told, request.words)})]
        if request.decoding.temperature > 0:
            return [self._rollout(request, prepared, completion.index, completion) for completion in output.outputs]
        return [self._rollout(request, prepared, i, output.outputs[0]) for i in range(request.n)]

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_without_image`."""
        cut, prepared = await self._in_thread(self._prepare_continuation, request)
        output = await self._generate(prepared)
        completion = output.outputs[0]
        ids, finish = _response(completion)
        text = self._text([*cut.ids, *ids], finish)
        if not text.startswith(cut.text):  # the tokenizer decodes it otherwise before what follows
            text = cut.text + self._text(ids, finish)
        prompt_tokens = prepared.prompt_tokens - len(cut.ids)
        tokens = len(cut.ids) + len(ids)
        return request.rollout(cut.text, text, tokens, finish, self.info.model, prompt_tokens=prompt_tokens)

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        observed = asdict(self._stepper.observed)
        capacity = observed.pop("capacity") or self._stats.capacity
        return replace(self._stats, steps=self._stepper.steps, capacity=capacity, **observed)

    async def close(self) -> None:
        """Stop stepping and release the engine's memory."""
        self._preparing.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._stepper.stop)
        self._engine.engine_core.shutdown()

    async def _in_thread(self, work: Any, request: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._preparing, work, request)

    async def _generate(self, prepared: Prepared) -> Any:
        self._stats.in_flight += 1
        try:
            output = await asyncio.wrap_future(self._stepper.submit(prepared))
        finally:
            self._stats.in_flight -= 1
        self._stats.requests += 1
        self._stats.rollouts += len(output.outputs)
        self._stats.tokens += sum(len(completion.token_ids) for completion in output.outputs)
        return output

    def _prepare_sample(self, request: SampleRequest) -> Prepared:
        images = [self._images.get(image) for image in request.question.images]
        return self._prompts.sample(request, images, f"r{next(self._ids)}")

    def _prepare_continuation(self, request: ContinueRequest) -> tuple[KeptTokens, Prepared]:
        cut = self._prompts.cut(request)
        return cut, self._prompts.continuation(request, cut, f"c{next(self._ids)}")

    def _rollout(self, request: SampleRequest, prepared: Prepared, i: int, completion: Any) -> Rollout:
        ids, finish = _response(completion)
        text = request.prefix + self._text(ids, finish)  # the seed is as vLLM seeds the children of one request
        return request.rollout(i, text, len(ids), finish, self.info.model, prompt_tokens=prepared.prompt_tokens)

    def _text(self, ids: list[int], finish: FinishReason) -> str:
        text = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        # A response that was cut off may end in a part of a character, which is decoded as U+FFFD.
        return text.rstrip("\ufffd") if finish == "length" else text


def _response(completion: Any) -> tuple[list[int], FinishReason]:
    """The response's token ids without the token that ended it, and why it ended.

    Raises EngineError for a response that the engine gave up, ItemRejected for one that failed: neither is a rollout.
    """
    ids, finish = list(completion.token_ids), completion.finish_reason
    if finish == "stop":
        return ids[:-1], "stop"
    if finish in ("length", "repetition"):  # both were cut off before the model ended them
        return ids, "length"
    if finish == "abort":
        raise EngineError("vLLM gave a request up before it was answered.")
    raise ItemRejected("engine_error", f"vLLM ended a response by {finish!r}")


def _label(settings: EngineSettings) -> str:
    found = resolve_model(settings.model, settings.revision)
    return found.label if settings.trust_remote_code else native_label(found)


def _identity(settings: EngineSettings) -> dict[str, object]:
    """The model by its label, and what else decides its rollouts."""
    identity: dict[str, object] = {
        "name": "vllm",
        "model": _label(settings),
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
    }
    if deciding := deciding_options(settings.options):
        identity["options"] = deciding
    if settings.reproducible:
        identity["reproducible"] = reproducible_identity(settings)
    return identity


def _describe(settings: EngineSettings) -> EngineInfo:
    """What is known before the model is loaded."""
    require("gpu")
    model = resolve_model(settings.model, settings.revision)
    label = _label(settings) + label_suffix(settings.options)
    return EngineInfo(engine="vllm", model=label, context=settings.max_model_len or model.context, can_continue=True)


KIND = EngineKind(make=VllmEngine, identity=_identity, describe=_describe, default_actors=1, on_gpu=True)
