"""HTTP to an OpenAI-compatible server that may be busy, slow, torn or gone for a while.

Faults cost time and nothing else: what is sent again is the same request with the same seed. Waits grow exponentially
with jitter. A question is blamed for a fault only where the server serves another request at the same time.

How many rollouts may be in flight on a server that others may use too: additive increase, multiplicative decrease
(Chiu and Jain 1989), as TCP does it. While the window is used in full and answers come, it grows by about one rollout
for each window's worth of answers; when the server pushes back (429, 503) it is halved, once for all requests that were
sent before the cut. Latency is watched as seconds for each token of an answer: batching makes it grow, so the window
stops growing only at several times the best seen, and shrinks a little at twice that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.engines.openai.messages import Completion, completions_of, longest, refusal

log = logging.getLogger(__name__)

SAY_EVERY = 10.0
_BUSY = (429, 503)
_TIMEOUT_BLAME = 3


@dataclass(frozen=True)
class RetryPolicy:
    """How long to try."""

    timeout: float = 600.0
    """Seconds for one answer."""
    attempts: int = 6
    """Faults after which a question is given up, if the server serves others; a timeout counts as three."""
    first_delay: float = 0.5
    longest_delay: float = 30.0
    outage: float = 900.0
    """Seconds without an answer after which the server is given up."""


@dataclass(frozen=True)
class TransientError:
    """A request that was not answered, and may be later."""

    what: str
    blame: int
    """How much speaks against the request itself."""
    wait: float = 0.0
    """Seconds that the server asked to wait."""


@dataclass(frozen=True)
class ServedModel:
    """A model as the server lists it."""

    name: str
    owner: str
    """As the server names itself the owner: vllm, sglang, lmdeploy, or another."""
    context: int | None


class Client:
    """Requests to one server, from one event loop."""

    def __init__(
        self, base_url: str, model: str, key: str | None, window: RolloutLimiter, patience: RetryPolicy
    ) -> None:
        self._base = base_url
        self._model = model
        self._window = window
        self._patience = patience
        self._said, self._troubles = -SAY_EVERY, 0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(patience.timeout, connect=min(10.0, patience.timeout)),
            limits=limits,
        )

    async def chat(self, body: Mapping[str, object], weight: int = 1) -> list[Completion]:
        """The completions of a chat, `weight` rollouts.

        Raises ItemRejected where the question is at fault, EngineError where the server cannot serve at all.
        """
        began, faults, tries = time.monotonic(), 0, 0
        while True:
            answer = await self._once({"model": self._model, **body}, weight)
            if not isinstance(answer, TransientError):
                return answer
            faults += answer.blame
            if faults >= self._patience.attempts and await self._serves():
                raise ItemRejected("server_error", answer.what)
            if time.monotonic() - began > self._patience.outage:
                raise EngineError(
                    f"{self._base} has not answered for {self._patience.outage:.0f} s: {answer.what}.",
                    remedy="Check the server, then run the same command again: finished work is kept.",
                )
            wait = max(answer.wait, self._delay(tries))
            # A line in the log at most every `SAY_EVERY` seconds: a server that is away troubles hundreds of
            # requests.
            self._troubles += 1
            if time.monotonic() - self._said >= SAY_EVERY:
                log.warning(
                    "%s: %s; %d requests wait, this one for %.1f s", self._base, answer.what, self._troubles, wait
                )
                self._said, self._troubles = time.monotonic(), 0
            await asyncio.sleep(wait)
            tries += 1

    async def extra(self, path: str, body: Mapping[str, object]) -> dict[str, object] | None:
        """The answer of an endpoint that not every server has, beside `/v1`; None where it is not there.

        Raises EngineError where it stays broken: what depends on it must not depend on the network's mood.
        """
        url = f"{self._base.removesuffix('/v1')}/{path}"
        for tries in range(self._patience.attempts):
            try:
                response = await self._http.post(url, json={"model": self._model, **body})
                if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
                    return None
                found = response.json() if response.status_code == 200 else None
            except (httpx.HTTPError, ValueError):
                found = None
            if isinstance(found, dict):
                return found
            await asyncio.sleep(self._delay(tries))
        raise EngineError(f"{url} does not answer.", remedy="Check the server; the same command resumes from here.")

    async def models(self) -> list[ServedModel]:
        """What the server serves; raises EngineError at once where it cannot be reached."""
        try:
            response = await self._http.get(f"{self._base}/models", timeout=min(30.0, self._patience.timeout))
            if response.status_code != 200:
                if isinstance(why := refusal(response.status_code, response.text), EngineError):
                    raise why
                raise EngineError(
                    f"{self._base}/models answers {response.status_code}.",
                    remedy="Give --base-url with the path that the API has (mostly /v1); or look at the server's log.",
                )
            served = []
            for model in response.json()["data"]:
                if isinstance(model.get("id"), str):
                    context = model.get("max_model_len")
                    known = context if isinstance(context, int) else None
                    served.append(ServedModel(model["id"], str(model.get("owned_by")), known))
            return served
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                f"No OpenAI-compatible server answers at {self._base}: {type(error).__name__}.",
                remedy="Start the server, and give --base-url as http://host:port/v1.",
            ) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _once(self, body: Mapping[str, object], weight: int) -> list[Completion] | TransientError:
        async with self._window.acquire(weight) as sent:
            try:
                response = await self._http.post(f"{self._base}/chat/completions", json=body)
            except httpx.TimeoutException as error:
                # A server that cannot even be connected to is not the question's fault.
                return TransientError("timeout", 0 if isinstance(error, httpx.ConnectTimeout) else _TIMEOUT_BLAME)
            except httpx.ConnectError:
                return TransientError("no connection", 0)
            except httpx.HTTPError as error:
                return TransientError(type(error).__name__, 1)
            return self._judged(response, sent, weight)

    def _judged(self, response: httpx.Response, sent: float, weight: int) -> list[Completion] | TransientError:
        status = response.status_code
        if status != 200:
            if (final := refusal(status, response.text)) is not None:
                raise final
            if status in _BUSY:
                self._window.pushed_back(sent)
            try:  # seconds that the server asks to wait, at most a minute; dates are not understood
                wait = min(60.0, max(0.0, float(response.headers.get("retry-after", 0))))
            except ValueError:
                wait = 0.0
            return TransientError(f"status {status}", int(status not in _BUSY), wait)
        try:
            answer: dict[str, Any] = json.loads(response.content)
            choices = completions_of(answer)
        except ValueError as error:
            return TransientError(f"torn answer: {str(error)[:100]}", 1)
        self._window.answered(sent, weight, longest(choices, answer.get("usage") or {}))
        return choices

    async def _serves(self) -> bool:
        """Whether the server answers a request that nothing can be wrong with."""
        hello = [{"role": "user", "content": "Hello"}]
        body = {"model": self._model, "messages": hello, "max_tokens": 1, "temperature": 0}
        try:
            response = await self._http.post(f"{self._base}/chat/completions", json=body, timeout=60)
        except httpx.HTTPError:
            return False
        return response.status_code == 200

    def _delay(self, tries: int) -> float:
        return seconds_to_wait(tries, first=self._patience.first_delay, longest=self._patience.longest_delay)


START = 32
SLOW = 6.0
"""Times the best seconds per token from where the window no longer grows; from twice that it shrinks."""
_FORGET = 1.002
"""Growth of the best latency with each answer, so that one lucky answer does not hold the window down for ever."""


class RolloutLimiter:
    """A limit on the rollouts in flight, for one event loop."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._limit = float(min(START, most))
        self._inside = 0
        self._best: float | None = None
        self._last_cut = -1.0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Rollouts that may be in flight now."""
        return max(1, int(self._limit))

    @asynccontextmanager
    async def acquire(self, weight: int) -> AsyncIterator[float]:
        """A place for a request of `weight` rollouts; gives the time at which it was taken.

        A request heavier than the whole window passes when nothing else is in flight.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._inside or self._inside + weight <= self.limit)
            self._inside += weight
        try:
            yield self._clock()
        finally:
            async with self._changed:
                self._inside -= weight
                self._changed.notify_all()

    def answered(self, sent: float, weight: int, tokens: int) -> None:
        """An answer of `weight` rollouts came, its longest of about `tokens` tokens, to a request sent at `sent`."""
        pace = (self._clock() - sent) / max(tokens, 1)
        self._best = pace if self._best is None else min(self._best * _FORGET, pace)
        if pace > 2 * SLOW * self._best:
            self._limit = max(1.0, self._limit * 0.98)
        elif pace <= SLOW * self._best and 2 * self._inside >= self.limit:
            self._limit = min(float(self._most), self._limit + weight / self._limit)

    def pushed_back(self, sent: float) -> None:
        """The server refused a request sent at `sent` because it has too much to do."""
        if sent >= self._last_cut:
            self._last_cut = self._clock()
            self._limit = max(1.0, self._limit / 2)
