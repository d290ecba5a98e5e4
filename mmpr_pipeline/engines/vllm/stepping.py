"""A thread that steps an engine for as long as there is work, and answers each request when it is finished.

Requests come from any thread; all calls into vLLM's engine are made by this one. Between two steps it takes in
whatever has arrived, so that every step runs with all questions in flight.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.engines.vllm.prompts import Prepared

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine


class Stepper:
    """Owns the engine from `start` to `stop`."""

    def __init__(self, engine: LLMEngine) -> None:
        self._engine = engine
        self._arrivals: queue.SimpleQueue[tuple[Prepared, Future[Any]] | None] = queue.SimpleQueue()
        self._waiting: dict[str, Future[Any]] = {}
        self._failure: EngineError | None = None
        self.steps = 0
        """Steps made so far."""
        self._thread = threading.Thread(target=self._run, name="vllm-steps", daemon=True)
        self._thread.start()

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
            while self._take_in(wait=not self._waiting):
                if self._waiting:
                    for output in self._engine.step():
                        if output.finished:
                            self._waiting.pop(output.request_id).set_result(output)
                    self.steps += 1
            self._fail(EngineError("The engine was stopped."))
        except BaseException as error:
            self._fail(
                EngineError(
                    f"The vLLM engine failed: {type(error).__name__}: {str(error)[:600]}",
                    remedy="See the engine's log; if memory ran out, lower engine.gpu_memory or engine.max_num_seqs.",
                )
            )

    def _take_in(self, wait: bool) -> bool:
        """Add what has arrived; False when asked to stop. Waits for an arrival if there is nothing to step for."""
        while True:
            try:
                arrival = self._arrivals.get(block=wait)
            except queue.Empty:
                return True
            if arrival is None:
                return False
            prepared, future = arrival
            wait = False
            try:
                self._engine.add_request(prepared.request_id, prepared.prompt, prepared.params)
            except ValueError as error:  # vLLM's validation of one request; the engine is as it was
                future.set_exception(ItemRejected("prompt_refused", str(error)[:200]))
            else:
                self._waiting[prepared.request_id] = future

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
