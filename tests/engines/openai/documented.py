"""Servers that keep to the documented protocols of SGLang and LMDeploy, and refuse what those refuse.

Written from SGLang's entrypoints/openai (protocol.py, serving_tokenize.py; sampling_params.py for top_k) and LMDeploy's
serve/openai (chat_completions/validation.py, fanout.py) and model.py. A token is a word, a blank before it included.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from tests.engines.openai.fake_server import Handler

OPENAI = {"model", "messages", "temperature", "top_p", "max_tokens", "seed", "n", "logprobs", "top_logprobs"}
EXTRA = {"top_k", "min_p", "repetition_penalty"}
MODEL = "m"
WORDS = ["the", "bars", "show", "that", "seven", "of", "them", "are", "red", "and", "so", "it", "is"]
LONGEST = 4096


def tokens_of(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def answer_of(seed: int, most: int) -> str:
    digest = hashlib.sha256(str(seed).encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[: min(12, most)])


class Documented(Handler):
    """What the two have in common; `check` gives the refusal of a body, or nothing."""

    owner = ""
    context: int | None = None

    def check(self, body: dict[str, Any]) -> str:
        raise NotImplementedError

    def seed_of(self, body: dict[str, Any], i: int) -> int:
        raise NotImplementedError

    def continues(self, body: dict[str, Any]) -> bool:
        raise NotImplementedError

    def other(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        return None

    def refuse(self, message: str) -> None:
        self.reply(400, {"object": "error", "message": message, "type": "BadRequestError", "code": 400})

    def do_GET(self) -> None:
        card: dict[str, Any] = {"id": MODEL, "object": "model", "owned_by": self.owner, "root": MODEL, "parent": None}
        if self.context is not None:
            card["max_model_len"] = self.context
        self.reply(200, {"object": "list", "data": [card]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            found = self.other(self.path, body)
            self.reply(200, found) if found else self.reply(404, {"detail": "Not Found"})
            return
        with self.server.lock:
            self.server.asked.append(body)
        if refusal := self.check(body):
            self.refuse(refusal)
        else:
            self.complete(body)

    def complete(self, body: dict[str, Any]) -> None:
        prompt = self.prompt_tokens(body)
        if prompt + body["max_tokens"] > LONGEST:
            self.refuse(f"Requested token count exceeds the model's maximum context length of {LONGEST} tokens.")
            return
        choices, made = [], 0
        for i in range(body.get("n", 1)):
            text = answer_of(self.seed_of(body, i), body["max_tokens"])
            made += len(tokens_of(text))
            end = "length" if body["max_tokens"] < 12 else "stop"
            choice = {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": end}
            if body.get("logprobs"):
                likely = [{"token": word, "logprob": -1.5, "bytes": None} for word in ("Yes", " No")]
                first = {"token": "Yes", "logprob": -0.2, "bytes": None}
                choice["logprobs"] = {"content": [{**first, "top_logprobs": [first, *likely[1:]]}]}
            choices.append(choice)
        usage = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        self.reply(200, {"object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage})

    def prompt_tokens(self, body: dict[str, Any]) -> int:
        """Three tokens open a turn, two end it; an image has 256."""
        turns = body["messages"]
        count = 0
        for turn in turns:
            parts = (
                turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
            )
            for part in parts:
                count += len(tokens_of(part["text"])) if part["type"] == "text" else 256
            count += 5
        return count - 2 if self.continues(body) else count + 3


class SglangHandler(Documented):
    """Flags continue a response; what seeds of n completions are is not said; `/tokenize` shows tokens."""

    owner = "sglang"
    context = LONGEST

    def check(self, body: dict[str, Any]) -> str:
        if unknown := body.keys() - OPENAI - EXTRA - {"continue_final_message", "add_generation_prompt"}:
            return f"unknown {unknown}"  # the server ignores them, and we should not send them
        if body.get("top_k", -1) < 1 and body.get("top_k", -1) != -1:
            return f"top_k must be -1 (disable) or at least 1, got {body['top_k']}."
        return ""

    def seed_of(self, body: dict[str, Any], i: int) -> int:
        return int(body["seed"]) * 1000 + 7 * i if i else int(body.get("seed", 0))

    def continues(self, body: dict[str, Any]) -> bool:
        return bool(body.get("continue_final_message")) and body["messages"][-1]["role"] == "assistant"

    def other(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if path == "/tokenize":
            found = tokens_of(body["prompt"])
            ids = [int.from_bytes(token.encode(), "big") for token in found]
            return {"tokens": ids, "count": len(ids), "max_model_len": LONGEST}
        if path == "/detokenize":
            texts = [number.to_bytes((number.bit_length() + 7) // 8, "big").decode() for number in body["tokens"]]
            return {"text": "".join(texts)}
        return None


class LmdeployHandler(Documented):
    """A last turn of the assistant is always gone on with; seeds count up; no log-probabilities unless it was started
    with a `logprobs_mode`; its tokens are not shown as vLLM shows them."""

    owner = "lmdeploy"

    def check(self, body: dict[str, Any]) -> str:
        if body.get("logprobs") or body.get("top_logprobs"):
            return "Logprobs(True)/top_logprobs(20) requested but not enabled logprobs_mode in engine configuration"
        if body.get("top_k", 40) < 0:
            return f"The top_k {body['top_k']!r} cannot be a negative integer."
        return "" if 0 < body.get("top_p", 1.0) <= 1 else f"The top_p {body['top_p']!r} must be in (0, 1]."

    def seed_of(self, body: dict[str, Any], i: int) -> int:
        return int(body.get("seed", 0)) + i

    def continues(self, body: dict[str, Any]) -> bool:
        return bool(body["messages"][-1]["role"] == "assistant")
