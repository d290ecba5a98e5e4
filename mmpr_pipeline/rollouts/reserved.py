"""Text of data and models never becomes a control token.

A tokenizer turns `<|im_end|>` in any text into the token that ends a turn, and `<IMG_CONTEXT>` into the place of a
picture: a question could speak for the assistant, and a pair could teach a model to speak for the user. So a question
that holds an added token of the model's tokenizer is refused (`reserved_token`), by the same rule wherever it is asked
or trained on; and a response is split into ordinary tokens, whatever it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK, THINK_END, THINK_START, without_images, without_template

LIKE_A_TOKEN = re.compile(r"<[^<>\s]{1,60}>|\[/?[A-Z][A-Z0-9_]{1,40}\]")
"""What control tokens look like, where the tokenizer itself cannot be asked for them."""

CONTROL_TOKEN = re.compile(
    r"<[|｜][^<>\s]{1,56}[|｜]>|</?(?:s|img|IMG_CONTEXT|video|image_soft_token|start_of_image|end_of_image|eos|bos|pad|unk"
    r"|(?:start|end)_of_turn|fim_[a-z]+)>|\[/?(?:INST|IMG|IMG_BREAK|IMG_END|SYSTEM_PROMPT|TOOL_CALLS|UNUSED_TOKEN_\d+)\]"
)
"""Those that are known to be control tokens of some family, for servers that do not show how they split a text."""


class ReservedTokens:
    """The added tokens of a tokenizer of transformers: ends of turns, places of images, tools, thinking."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = getattr(tokenizer, "added_tokens_decoder", None) or {}
        names = {int(number): str(token) for number, token in added.items()}
        # Some tokenizers add runs of blanks, which mean nothing but blanks.
        self._names = {number: name for number, name in names.items() if name.strip("▁ \t\r\n")}

    def refuse(self, turn: str) -> None:
        """Raise ItemRejected (`reserved_token`) where a user turn holds one, its images and our instruction aside."""
        if not self._names:
            return
        for text in asked_texts(turn):
            for number in self._tokenizer(text, add_special_tokens=False)["input_ids"]:
                # An unknown sign becomes the unknown token; only where that is written out it is reserved.
                if (name := self._names.get(number)) and (name != self._tokenizer.unk_token or name in text):
                    raise ItemRejected("reserved_token", f"the text holds {name}")


def asked_texts(turn: str) -> list[str]:
    """What of a user turn comes from data: with the images, and without (DropNTP), where texts beside a mark meet."""
    asked = without_template(turn)
    return list(dict.fromkeys([asked.replace(IMAGE_MARK, "\n"), without_images(asked)]))


def spelled(text: str, tokens: Sequence[str] | None) -> str | None:
    """The control token that a text spells, by the tokens that a server splits it into; None where there is none.

    Ordinary tokens never hold both brackets of a name. Where the server does not show tokens, only those that are
    known from some family are found.
    """
    if tokens is None:
        found = CONTROL_TOKEN.search(text)
        return found[0] if found else None
    return next((token for token in tokens if LIKE_A_TOKEN.fullmatch(token)), None)


def plain_encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """What turns a response into ordinary tokens, added ones that its text spells included; for several threads.

    The marks of thinking are the exception, where they are tokens: models that think sample them as such, and they
    end no turn. Asking the tokenizer itself to split (`split_special_tokens`) changes its state for all its users, and
    leaves the added tokens that are not called special.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return lambda text: list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    parts = json.loads(backend.to_str())
    for token in parts["added_tokens"]:
        token["special"] = token["content"] not in (THINK_START, THINK_END)
    plain = Tokenizer.from_str(json.dumps(parts))
    plain.encode_special_tokens = True
    plain.no_truncation()
    plain.no_padding()
    return lambda text: list(plain.encode(text, add_special_tokens=False).ids)
