"""What the pipeline asks of an engine, and what every engine promises.

An engine turns one question into n rollouts in one request (the image is encoded once), and continues a cut response
without the image. Requests are independent and may be in flight together, as many as the caller likes: the engine
queues them. A question that cannot be served (prompt longer than the context, say) raises `errors.ItemRejected` with
its reason; an engine that cannot serve at all raises `errors.EngineError`.

How likely a response begins with each of some words (`choice_probabilities`) is a request as any other, so it goes
through pools and journals as they are: one rollout of one token, whose text is the list of probabilities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypedDict, cast

from pydantic import Field

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import FinishReason, Question, Record, Rollout, content_id
from mmpr_pipeline.rollouts.prompts import aside_of
from mmpr_pipeline.rollouts.sampling import Decoding


class SampleRequest(Record):
    """n rollouts of one question. Rollout i has index `first_index + i` and seed `seed + i`."""

    question: Question = Field(description="The question with its images.")
    prompt: str = Field(description="The user turn; exactly one `<image>` for each image.")
    prompt_version: str = Field(description="Label of the prompt template.")
    n: int = Field(ge=1, description="Rollouts to sample.")
    seed: int = Field(ge=0, description="Seed of the first rollout; below 2**62.")
    round: int = Field(default=0, ge=0, description="Sampling round.")
    first_index: int = Field(default=0, ge=0, description="Index of the first rollout.")
    decoding: Decoding = Field(default=Decoding(), description="How to sample.")
    prefix: str = Field(
        default="",
        description="Text that the responses begin with, instead of being sampled; their `tokens` count what follows.",
    )
    words: tuple[str, ...] = Field(
        default=(), description="Ask how likely the response begins with each of these words: see `probabilities`."
    )

    def rollout(
        self, at: int, text: str, tokens: int, finish: FinishReason, model: str, *, prompt_tokens: int = 0,
        seed: int | None = None,
    ) -> Rollout:  # fmt: skip
        """The rollout at place `at` of n; `text` begins with the prefix. `seed`: where it is not `self.seed + at`."""
        return Rollout(
            question_id=self.question.question_id,
            round=self.round,
            index=self.first_index + at,
            seed=self.seed + at if seed is None else seed,
            text=text,
            tokens=tokens,
            prompt_tokens=prompt_tokens,
            finish_reason=finish,
            model=model,
            prompt_version=self.prompt_version,
        )


def request_name(request: SampleRequest) -> str:
    """The name of a request among those of its question, as journals have it.

    What is sampled beside a question has its own: two responses may begin alike, and each is completed for itself.
    """
    step = f"sample/{request.round}"
    if not aside_of(request.prompt_version):
        return step
    return f"{step}/{content_id(request.prompt_version, request.prefix, str(request.first_index))[:16]}"


class ContinueRequest(Record):
    """Cut `parent.text` after `ratio` of its tokens and continue it without the image (DropNTP)."""

    question: Question = Field(description="The question; its images are not used.")
    prompt: str = Field(description="The user turn without image marks.")
    prompt_version: str = Field(description="Label of the prompt template.")
    parent: Rollout = Field(description="The rollout to cut.")
    ratio: float = Field(gt=0, lt=1, description="Share of the parent's tokens that is kept.")
    seed: int = Field(ge=0, description="Sampling seed; below 2**62.")
    index: int = Field(ge=0, description="Index of the resulting rollout.")
    decoding: Decoding = Field(default=Decoding(), description="How to sample.")

    def rollout(
        self, kept: str, text: str, tokens: int, finish: FinishReason, model: str, *, prompt_tokens: int
    ) -> Rollout:
        """The continued rollout: `text` begins with the `kept` part of the parent's."""
        return Rollout(
            question_id=self.question.question_id,
            round=self.parent.round,
            index=self.index,
            seed=self.seed,
            text=text,
            tokens=tokens,
            prompt_tokens=prompt_tokens,
            finish_reason=finish,
            model=model,
            prompt_version=self.prompt_version,
            parent=self.parent.index,
            prefix_chars=len(kept),
        )


class EngineInfo(Record):
    """What an engine is, for provenance and for the plan of a build."""

    engine: str = Field(description="Name of the engine, as vllm.")
    model: str = Field(description="Label of the model, as written into each rollout.")
    context: int | None = Field(description="Context length in tokens; null where there is none.")
    can_continue: bool = Field(description="Whether responses can be continued without the image (DropNTP).")
    sequences: int | None = Field(default=None, description="Rollouts it decodes at once; null where not known.")
    recorded: bool = Field(default=False, description="Whether its answers were recorded before: one request gets all.")
    kv_tokens: int | None = Field(default=None, description="Tokens its KV cache holds; null where not known.")
    engines: int = Field(default=1, description="Engines that serve together, of which each holds this much.")
    runs_on: dict[str, str] = Field(
        default_factory=dict, description="Device, versions and code path that sampled, for provenance."
    )


@dataclass
class EngineStats:
    """What engines have done since they started; two readings a few seconds apart give rates."""

    actors: int = 0
    """Engine actors that answer."""
    waiting: int = 0
    """Engine actors that do not: without a place in the cluster, loading, or being started again."""
    lost: int = 0
    """Engine actors that were given up, and whose GPUs are free again."""
    in_flight: int = 0
    """Requests accepted and not yet answered."""
    requests: int = 0
    """Requests answered."""
    rollouts: int = 0
    tokens: int = 0
    """Generated tokens."""
    steps: int = 0
    """Steps of the model, where the engine has them: a sign of life between two answers."""
    busy_seconds: float = 0.0
    """Actors: seconds, summed over all, with a request in flight."""
    alive_seconds: float = 0.0
    """Actors: seconds, summed over all, since their engines were loaded."""
    restarts: int = 0
    """Engine actors that died and were started again."""
    sequences: int = 0
    """Rollouts being decoded now, where the engine tells."""
    capacity: int = 0
    """Rollouts that the engines can decode at once."""
    sequence_seconds: float = 0.0
    """Seconds, summed over all rollouts, in which they were decoded."""
    capacity_seconds: float = 0.0
    """`capacity` times the seconds alive: with `sequence_seconds`, how full the engines were."""
    kv_use: float = 0.0
    """Share of the KV cache in use now; the mean over actors."""
    preemptions: int = 0
    """Rollouts that lost their place in the KV cache and were computed again."""
    prompt_tokens: int = 0
    """Prompt tokens looked up in the prefix cache."""
    cached_tokens: int = 0
    """Of those, tokens that were there."""
    load_seconds: float = 0.0
    """Seconds of the longest start of an engine: download, load, compilation."""
    recorded: int = 0
    """Replay: usable rollouts in the recorded file."""
    rejected_lines: int = 0
    """Replay: lines of the recorded file that could not be used."""

    def plain(self) -> EngineStatsFields:
        """As JSON data."""
        return cast(EngineStatsFields, asdict(self))


class EngineStatsFields(TypedDict, total=False):
    """`EngineStats` as JSON; earlier versions wrote fewer fields."""

    actors: int
    waiting: int
    lost: int
    in_flight: int
    requests: int
    rollouts: int
    tokens: int
    steps: int
    busy_seconds: float
    alive_seconds: float
    restarts: int
    sequences: int
    capacity: int
    sequence_seconds: float
    capacity_seconds: float
    kv_use: float
    preemptions: int
    prompt_tokens: int
    cached_tokens: int
    load_seconds: float
    recorded: int
    rejected_lines: int


def least_room(max_tokens: int, context: int | None) -> int:
    """Tokens that a prompt must leave for a response: a quarter of what may be asked for.

    With less, most rollouts would be cut off before their answer, all n of them, for a question that can still be asked
    with fewer tiles or a longer context.
    """
    return max(1, min(max_tokens, context or max_tokens) // 4)


class Engine(Protocol):
    """A sampler of rollouts."""

    @property
    def can_continue(self) -> bool:
        """Whether `continue_without_image` works (recorded rollouts cannot be continued)."""
        ...

    @property
    def info(self) -> EngineInfo:
        """What this engine is; a pool of actors answers for all of them."""
        ...

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """Rollouts in index order: exactly `request.n`, or fewer only where an engine has no more (replay).

        With `request.prefix` the engine must be able to continue a response.
        """
        ...

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """The continued response: `text` is the kept prefix plus what was continued, `prefix_chars` its length.

        The cut is at a token boundary that is also a character boundary. Raises ItemRejected where the parent has too
        few tokens to cut.
        """
        ...

    async def stats(self) -> EngineStats:
        """Counts for the live bar."""
        ...

    async def close(self) -> None:
        """Release what the engine holds."""
        ...


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
