"""A thread that loads an engine, steps it for as long as there is work, and answers each request when it is finished.

Requests come from any thread; all calls into vLLM's engine, loading included, are made by this one: CUDA's current
device and stream belong to a thread. Between two steps it takes in whatever has arrived, so that every step runs with
all questions in flight.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.engines.vllm.admission import ActiveLimit, Observed, Observer, Turns
from mmpr_pipeline.engines.vllm.prompts import Prepared

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine

log = logging.getLogger(__name__)

LIMIT_EVERY = 16
"""Steps between two looks at how many rollouts the KV cache will hold."""


class Stepper:
    """Owns the engine from its load to `stop`."""

    def __init__(self, load: Callable[[], LLMEngine]) -> None:
        self._load = load
        self._loaded: Future[LLMEngine] = Future()
        self._observer: Observer | None = None
        self._limit: ActiveLimit | None = None
        self._turns = Turns()
        self._arrivals: queue.SimpleQueue[tuple[Prepared, Future[Any]] | None] = queue.SimpleQueue()
        self._waiting: dict[str, Future[Any]] = {}
        self._failure: EngineError | None = None
        self.steps = 0
        """Steps made so far."""
        self._thread = threading.Thread(target=self._run, name="vllm-steps", daemon=True)
        self._thread.start()

    def engine(self) -> LLMEngine:
        """The engine; waits until it is loaded, and raises what kept it from loading."""
        return self._loaded.result()

    @property
    def observed(self) -> Observed:
        """vLLM's own numbers."""
        return self._observer.seen if self._observer else Observed()

    def submit(self, prepared: Prepared) -> Future[Any]:
        """The future `RequestOutput`; fails with EngineError when the engine does."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # whoever gives up waiting must not take it from under the thread
        if self._failure is not None:
            future.set_exception(self._failure)
        else:
            self._arrivals.put((prepared, future))
        return future

    def stop(self) -> None:
        """End the thread after its current step; unfinished requests fail."""
        self._arrivals.put(None)
        self._thread.join(timeout=60)

    def _run(self) -> None:
        try:
            engine = self._load()
        except BaseException as error:
            self._failure = error if isinstance(error, EngineError) else EngineError(f"vLLM did not load: {error}")
            self._loaded.set_exception(error)
            return
        self._observer = Observer(engine)
        config = engine.vllm_config
        self._limit = ActiveLimit(config.cache_config.kv_cache_size_tokens, config.scheduler_config.max_num_seqs)
        self._loaded.set_result(engine)
        try:
            self._step(engine, self._observer, self._limit)
            self._fail(EngineError("The engine was stopped."))
        except BaseException as error:
            log.error("vLLM failed with %d requests in flight", len(self._waiting), exc_info=error)
            failure = EngineError(
                f"The vLLM engine failed: {type(error).__name__}: {str(error)[:600]}",
                remedy="See the engine's log; if memory ran out, lower engine.gpu_memory or engine.max_num_seqs.",
            )
            failure.__cause__ = error
            self._fail(failure)

    def _step(self, engine: LLMEngine, observer: Observer, limit: ActiveLimit) -> None:
        while self._take_in(engine, limit, wait=not self._waiting):
            if self._waiting:
                for output in engine.step():
                    if output.finished:
                        lengths = [len(completion.token_ids) for completion in output.outputs]
                        limit.ended(sum(lengths) / len(lengths), len(lengths))
                        self._waiting.pop(output.request_id).set_result(output)
                if self.steps % LIMIT_EVERY == 0:
                    observer.admit(limit)
                self.steps += 1
                observer.step()
            if not self._waiting:
                observer.idle()

    def _take_in(self, engine: LLMEngine, limit: ActiveLimit, wait: bool) -> bool:
        """Add what has arrived; False when asked to stop. Waits for an arrival if there is nothing to step for."""
        while True:
            try:
                arrival = self._arrivals.get(block=wait)
            except queue.Empty:
                return True
            if arrival is None:
                return False
            prepared, future = arrival
            if wait and self._observer:
                self._observer.idle()  # the time waited was no work
            wait = False
            try:
                turn = self._turns.of(prepared.question_id)
                engine.add_request(prepared.request_id, prepared.prompt, prepared.params, priority=turn)
            except ValueError as error:  # vLLM's validation of one request; the engine is as it was
                future.set_exception(ItemRejected("prompt_refused", str(error)[:200]))
            else:
                self._waiting[prepared.request_id] = future
                limit.asked(prepared.params.max_tokens or 0, prepared.prompt_tokens)

    def _fail(self, error: EngineError) -> None:
        self._failure = error
        for future in self._waiting.values():
            future.set_exception(error)
        self._waiting.clear()
        while True:
            try:
                arrival = self._arrivals.get(block=False)
            except queue.Empty:
                return
            if arrival is not None:
                arrival[1].set_exception(error)
