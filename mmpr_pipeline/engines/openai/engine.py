"""The openai engine: any server that speaks OpenAI's chat completions (vLLM, SGLang, LMDeploy, ...).

The server renders the chat, cuts images into tiles and decides how they are placed: start it with the settings that
the questions need. It runs elsewhere, so there are no engine actors: each worker talks to it, all its requests through
one thread with one event loop. The key is taken from OPENAI_API_KEY and kept nowhere.

Seeds: vLLM and LMDeploy seed completion i of a request with seed + i, and so it is recorded. Other servers promise
nothing about it, and there the seed of the request is recorded for all its rollouts.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mmpr_pipeline.core.errors import ConfigError, EngineError, ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import (
    ContinueRequest,
    EngineInfo,
    EngineStats,
    SampleRequest,
    least_room,
    probabilities,
)
from mmpr_pipeline.engines.openai.client import Client, RetryPolicy, RolloutLimiter
from mmpr_pipeline.engines.openai.messages import (
    SEEDS_IN_TURN,
    Completion,
    asking_for,
    chat_messages,
    cut_by_characters,
    sampling_body,
)
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.rollouts.reserved import LIKE_A_TOKEN, asked_texts, spelled

SEQUENCES = 256
"""Most rollouts in flight on a server, where the settings name no number."""

_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """What was found out about a server."""

    kind: str
    """As it names itself the owner of its models: vllm, sglang, lmdeploy, or another."""
    context: int | None
    can_continue: bool
    shows_tokens: bool


@dataclass(frozen=True)
class KeptText:
    """The kept part of a parent response; `tokens` is 0 where the server does not show them."""

    text: str
    tokens: int


class OpenAiEngine:
    """Asks the server what it is when it is made (raises EngineError at once), then serves from any event loop."""

    def __init__(self, settings: EngineSettings, patience: RetryPolicy | None = None) -> None:
        if not settings.base_url:
            raise ConfigError("The openai engine has no server.", remedy="Give --base-url http://host:port/v1.")
        self._base = settings.base_url
        self._model = settings.model
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="openai-requests", daemon=True).start()
        self._takes_n = True
        self._stats = EngineStats()
        self._client, self._server = asyncio.run_coroutine_threadsafe(
            self._connect(settings, patience or RetryPolicy(timeout=settings.stall_seconds)), self._loop
        ).result()
        label = f"{settings.model}@{settings.revision}" if settings.revision else settings.model
        self.can_continue = self._server.can_continue
        self.info = EngineInfo(
            engine="openai",
            model=label,
            context=self._server.context,
            can_continue=self.can_continue,
            sequences=settings.max_num_seqs,
        )

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`; raises ItemRejected for what the server cannot take."""
        return await self._there(self._sample(request))

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_without_image`. Without the server's `/tokenize` the cut is at the end of a word."""
        return await self._there(self._continue(request))

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        return replace(self._stats)

    async def close(self) -> None:
        """Close the connections and end the thread."""
        await self._there(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in the engine's own loop: connections and the window are shared by all loops of this process."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _connect(self, settings: EngineSettings, patience: RetryPolicy) -> tuple[Client, Server]:
        window = RolloutLimiter(settings.max_num_seqs or SEQUENCES)
        client = Client(self._base, self._model, os.environ.get("OPENAI_API_KEY"), window, patience)
        models = {model.name: model for model in await client.models()}
        if self._model not in models:
            raise EngineError(
                f"{self._base} does not serve {self._model!r}; it serves {', '.join(sorted(models)) or 'nothing'}.",
                remedy="Give --model as the server names it.",
            )
        served = models[self._model]
        return client, Server(
            kind=served.owner,
            context=served.context,
            can_continue=await self._continues(client),
            shows_tokens=await self._tokens(client, "Hello") is not None,
        )

    async def _continues(self, client: Client) -> bool:
        """Whether the server goes on with a begun response: at our word, as vLLM and SGLang, or always, as LMDeploy.

        The count of prompt tokens tells. A server that ignores the flags counts as many with them as without, and more
        than the response's own words have: those that end a turn and open another.
        """

        async def length(begun: str, flags: Mapping[str, object]) -> int:
            messages = [{"role": "user", "content": "Count."}]
            messages += [{"role": "assistant", "content": begun}] if begun else []
            choices = await client.chat({"messages": messages, "max_tokens": 1, "temperature": 0, **flags})
            return choices[0].prompt_tokens if choices else 0

        try:
            begun = await length("One two", _CONTINUE)
            if 0 < begun < await length("One two", {}):
                return True
            words = await length("One two One two", _CONTINUE) - begun
            return 0 < begun - await length("", {}) <= words
        except ItemRejected:
            return False

    async def _sample(self, request: SampleRequest) -> list[Rollout]:
        messages = chat_messages(request.prompt, request.question.images)
        begun: Mapping[str, object] = {}
        await self._refuse_reserved([*asked_texts(request.prompt), request.prefix])
        if request.prefix:
            if not self.can_continue:
                raise EngineError("This server does not go on with a begun response.")
            messages, begun = [*messages, {"role": "assistant", "content": request.prefix}], _CONTINUE
        greedy = request.decoding.temperature == 0
        self._stats.in_flight += 1
        try:
            n = 1 if greedy else request.n
            choices, seeds = await self._complete(
                {"messages": messages, **begun, **asking_for(request.words)}, request, n
            )
        finally:
            self._stats.in_flight -= 1
        self._count(len(choices), sum(choice.tokens for choice in choices))
        if request.words:
            told = replace(choices[0], text=probabilities(choices[0].first, request.words) if choices[0].first else "")
            return [self._rollout(request, 0, told, request.seed)]
        if greedy:  # n greedy rollouts are one
            choices, seeds = choices * request.n, [request.seed + i for i in range(request.n)]
        return [self._rollout(request, i, choice, seeds[i]) for i, choice in enumerate(choices)]

    async def _complete(
        self, body: Mapping[str, object], request: SampleRequest, n: int
    ) -> tuple[list[Completion], list[int]]:
        """n completions and their seeds: in one request, or one by one where the server makes only one at a time."""
        if n > 1 and self._takes_n:
            try:
                choices = await self._fitting(body, request, n, request.seed)
            except ItemRejected as reject:
                if reject.reason != "prompt_refused":
                    raise
                # Refused for n, or for itself? Alone it will tell.
                first = await self._fitting(body, request, 1, request.seed)
                self._takes_n = False
                return await self._singly(body, request, n, first)
            if len(choices) >= n:
                step = int(self._server.kind in SEEDS_IN_TURN)
                return choices[:n], [request.seed + step * i for i in range(n)]
            self._takes_n = False  # it ignores n
            return await self._singly(body, request, n, choices[:1])
        return await self._singly(body, request, n, [])

    async def _singly(
        self, body: Mapping[str, object], request: SampleRequest, n: int, first: list[Completion]
    ) -> tuple[list[Completion], list[int]]:
        seeds = [request.seed + i for i in range(n)]
        rest = await asyncio.gather(*(self._fitting(body, request, 1, seed) for seed in seeds[len(first) :]))
        return [*first, *(choices[0] for choices in rest)], seeds

    async def _fitting(
        self, body: Mapping[str, object], request: SampleRequest | ContinueRequest, n: int, seed: int
    ) -> list[Completion]:
        """Completions as long as asked for, or as the context leaves where that is less."""
        decoding = request.decoding
        parameters = sampling_body(decoding, n, seed, self._server.kind)
        try:
            return await self._client.chat({**body, **parameters}, n)
        except ItemRejected as reject:
            least = least_room(decoding.max_tokens, self._server.context)
            if reject.reason != "prompt_too_long" or decoding.max_tokens <= least:
                raise
        shortest = {**body, **parameters, "n": 1, "max_tokens": least}
        [probe, *_] = await self._client.chat(shortest)  # raises where even that does not fit
        if self._server.context and probe.prompt_tokens:
            room = self._server.context - probe.prompt_tokens
            return await self._client.chat({**body, **parameters, "max_tokens": room}, n)
        most = decoding.max_tokens // 2  # a server that does not tell its context: half as many until they fit
        while most > least:
            try:
                return await self._client.chat({**body, **parameters, "max_tokens": most}, n)
            except ItemRejected as reject:
                if reject.reason != "prompt_too_long":
                    raise
                most //= 2
        return await self._client.chat({**body, **parameters, "max_tokens": least}, n)

    async def _continue(self, request: ContinueRequest) -> Rollout:
        if not self.can_continue:
            raise EngineError("This server cannot continue a partial response.")
        cut = await self._cut(request)
        await self._refuse_reserved([*asked_texts(request.prompt), cut.text])
        messages = [*chat_messages(request.prompt, ()), {"role": "assistant", "content": cut.text}]
        self._stats.in_flight += 1
        try:
            [choice, *_] = await self._fitting({"messages": messages, **_CONTINUE}, request, 1, request.seed)
        finally:
            self._stats.in_flight -= 1
        self._count(1, choice.tokens)
        tokens = cut.tokens + choice.tokens if cut.tokens else 0
        prompt_tokens = max(0, choice.prompt_tokens - cut.tokens) if cut.tokens else 0
        text = cut.text + choice.text
        return request.rollout(cut.text, text, tokens, choice.finish, self.info.model, prompt_tokens=prompt_tokens)

    async def _cut(self, request: ContinueRequest) -> KeptText:
        """The kept part: whole tokens and whole characters where the server shows its tokens, else whole words."""
        text = request.parent.text
        if not self._server.shows_tokens:
            return KeptText(cut_by_characters(text, request.ratio), 0)
        ids = await self._tokens(self._client, text) or []
        for kept in range(int(len(ids) * request.ratio), 0, -1):
            found = await self._client.extra("detokenize", {"tokens": ids[:kept]})
            prefix = found.get("prompt", found.get("text")) if found else None  # vLLM's name and SGLang's
            if isinstance(prefix, str) and prefix and text.startswith(prefix) and not prefix.endswith("\ufffd"):
                return KeptText(prefix, kept)
        raise ItemRejected("too_short_to_cut", f"{len(ids)} tokens")

    async def _refuse_reserved(self, texts: Sequence[str]) -> None:
        """Raise ItemRejected (`reserved_token`) where the server would take a part of a text for a control token."""
        for text in texts:
            if not LIKE_A_TOKEN.search(text):
                continue
            tokens: list[str] | None = None
            if self._server.shows_tokens:  # as vLLM does
                body = {"prompt": text, "add_special_tokens": False, "return_token_strs": True}
                found = (await self._client.extra("tokenize", body) or {}).get("token_strs")
                tokens = [str(token) for token in found] if isinstance(found, list) else None
            if name := spelled(text, tokens):
                raise ItemRejected("reserved_token", f"the text holds {name}")

    async def _tokens(self, client: Client, text: str) -> list[int] | None:
        """The server's tokens of a text, as vLLM's `/tokenize` gives them; None where it has none."""
        found = await client.extra("tokenize", {"prompt": text, "add_special_tokens": False})
        ids = found.get("tokens") if found else None
        return ids if isinstance(ids, list) else None

    def _count(self, rollouts: int, tokens: int) -> None:
        self._stats.requests += 1
        self._stats.rollouts += rollouts
        self._stats.tokens += tokens

    def _rollout(self, request: SampleRequest, i: int, choice: Completion, seed: int) -> Rollout:
        text, finish, model = request.prefix + choice.text, choice.finish, self.info.model
        return request.rollout(i, text, choice.tokens, finish, model, prompt_tokens=choice.prompt_tokens, seed=seed)
