"""What goes to an OpenAI-compatible server and what comes back; pure, no network."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.core.masking import masked, without_secrets
from mmpr_pipeline.core.records import FinishReason, Image
from mmpr_pipeline.engines.engine import TOP
from mmpr_pipeline.models.messages import interleaved, messages_of
from mmpr_pipeline.rollouts.sampling import Decoding

_WORD_SEARCH = 40
"""Characters before the cut in which the end of a word is looked for."""

_TOO_LONG = (
    "context_length_exceeded", "maximum context length", "model's context length", "maximum model length",
    "max_model_len", "maximum sequence length", "session_len", "too many tokens",
)  # fmt: skip
_FILTERED = ("content_filter", "content_policy", "content management policy")


@dataclass(frozen=True)
class Completion:
    """One completion."""

    text: str
    tokens: int
    """Tokens of the text; 0 where the server does not tell."""
    finish: FinishReason
    prompt_tokens: int
    first: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens with their log-probabilities, where they were asked for and are told."""


def chat_messages(prompt: str, images: tuple[Image, ...]) -> list[dict[str, object]]:
    """The turns of a prompt, each image as a data URL where its mark stands. Raises ItemRejected (`image_marks`)."""
    parts: list[dict[str, object]] = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in images]
    return messages_of(prompt, parts, lambda pieces, here: interleaved(pieces, here) if here else pieces[0])


def data_url(image: Image) -> str:
    """The encoded image file as a data URL (RFC 2397)."""
    return f"data:image/{image.format};base64,{base64.b64encode(image.data).decode('ascii')}"


NO_TRUNCATION: dict[str, dict[str, object]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},  # which refuses a top_k of 0
    "lmdeploy": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},  # which refuses a negative one
}
"""What servers that are known by their `owned_by` are asked beside OpenAI's parameters. Left out, they truncate as the
model's own defaults say (LMDeploy: to 40 tokens)."""

SEEDS_IN_TURN = frozenset({"vllm", "lmdeploy"})
"""Servers that seed completion i of a request with seed + i."""


def sampling_body(decoding: Decoding, n: int, seed: int, server: str) -> dict[str, object]:
    """The sampling parameters, in the words of a server of this kind."""
    body: dict[str, object] = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_tokens,
        "seed": seed,
    }
    if n > 1:
        body["n"] = n
    return body | NO_TRUNCATION.get(server, {})


def asking_for(words: Sequence[str]) -> dict[str, object]:
    """What to ask for the probabilities of words: the likeliest first tokens."""
    return {"logprobs": True, "top_logprobs": TOP} if words else {}


def completions_of(answer: dict[str, Any]) -> list[Completion]:
    """The completions of an answer, in the order of their indices.

    Raises ItemRejected for content filters and unusable ends, ValueError where the answer is not of the known form.
    """
    try:
        found = sorted(answer["choices"], key=lambda choice: choice.get("index", 0))
        usage = answer.get("usage") or {}
        return [_choice(choice, usage, len(found)) for choice in found]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a chat completion: {type(error).__name__} {error}") from None


def longest(choices: list[Completion], usage: dict[str, Any]) -> int:
    """About how many tokens the longest completion has."""
    known = max((choice.tokens for choice in choices), default=0)
    return known or int(usage.get("completion_tokens") or 0) // max(len(choices), 1)


def _choice(choice: dict[str, Any], usage: dict[str, Any], of: int) -> Completion:
    message, finish = choice["message"], choice.get("finish_reason")
    if finish == "content_filter":
        raise ItemRejected("content_filter", "the server's filter ended the response")
    if finish not in ("stop", "length"):
        raise ValueError(f"the response ended by {finish!r}")
    if not message.get("content") and (message.get("reasoning_content") or message.get("reasoning")):
        raise EngineError(
            "The server takes the reasoning out of the responses.",
            remedy="Start it without a reasoning parser: the whole response is what pairs are made of.",
        )
    ids = choice.get("token_ids")
    if ids is not None:
        tokens = len(ids) - (finish == "stop" and bool(ids))  # the token that ended it is not of the text
    else:
        tokens = int(usage.get("completion_tokens") or 0) if of == 1 else 0
    # A server that repeats the key in a response would have it published.
    text = without_secrets(message.get("content") or "")
    # The likeliest first tokens; none if the server does not return any.
    places = (choice.get("logprobs") or {}).get("content") or []
    first = tuple(
        (str(each["token"]), float(each["logprob"])) for each in (places[0].get("top_logprobs") if places else ())
    )
    return Completion(text, tokens, finish, int(usage.get("prompt_tokens") or 0), first)


def refusal(status: int, text: str) -> Exception | None:
    """What a status other than 200 means for the question; None where the same request may be answered later."""
    low, said = text.lower(), masked(" ".join(text.split())[:500])[:200]
    if status in (401, 403):
        return EngineError(
            f"The server refuses access: {status}.", remedy="Set OPENAI_API_KEY where the build and its workers run."
        )
    if status in (404, 405):
        return EngineError(
            f"The server does not know the model or the address: {status} {said}",
            remedy="Give --base-url with the path that the API has (mostly /v1), and --model as the server names it.",
        )
    if status in (408, 409, 425, 429) or status >= 500:
        return None
    if any(sign in low for sign in _TOO_LONG):
        return ItemRejected("prompt_too_long", said)
    if any(sign in low for sign in _FILTERED):
        return ItemRejected("content_filter", said)
    return ItemRejected("prompt_refused", f"{status} {said}")


def cut_by_characters(text: str, ratio: float) -> str:
    """About the first `ratio` of the characters: up to the end of a word, or of a character where words are not spaced.

    For servers that do not show their tokens. Raises ItemRejected where nothing would be kept.
    """
    target = int(len(text) * ratio)
    for end in range(target, max(target - _WORD_SEARCH, 0), -1):
        if text[end].isspace() and not text[end - 1].isspace():
            return text[:end]
    # Not between a character and what belongs to it: accents, joiners, variation selectors, skin tones.
    while target > 0 and (
        unicodedata.category(text[target]) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= text[target] <= "\U0001f3ff"
    ):
        target -= 1
    if not text[:target].strip():
        raise ItemRejected("too_short_to_cut", f"{len(text)} characters")
    return text[:target]
