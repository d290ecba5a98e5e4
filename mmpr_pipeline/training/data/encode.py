"""From stored pairs to tokens and tiles, exactly as the responses were sampled: the model's own processor and template.

Tokens of the prompt are those that the sampling engine saw (chat template, image tokens expanded, no tokens added),
and a response ends with the token by which the template ends an assistant's turn. No text becomes a control token:
see `rollouts.reserved`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, ItemRejected
from mmpr_pipeline.core.records import PreferencePair
from mmpr_pipeline.models.messages import IMAGE_MARK, decode_image, interleaved, messages_of, tile_settings
from mmpr_pipeline.rollouts.reserved import ReservedTokens, plain_encoder
from mmpr_pipeline.training.data.groups import Group, make_group
from mmpr_pipeline.training.data.shards import Shard

_PIXELS = 28 * 28  # of an image for a token, where nothing is known: as Qwen and Pixtral have it
_TILE_TOKENS = 256
_SENTINEL = "mmprsentinel"


@dataclass(frozen=True)
class PairReject:
    """A pair that cannot be trained on, and why."""

    pair_id: str
    source: str
    source_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Encoded:
    """One question ready to be packed: its group (None where no pair is left), model inputs of its images, rejects."""

    group: Group | None
    images: Mapping[str, Tensor]
    rejects: tuple[PairReject, ...] = ()


class PairEncoder:
    """Encodes questions with a model's processor; safe to use from several threads.

    `model` and `family` say how many image tokens the prompt must hold; `max_tiles` bounds every image. `end` is the
    token that ends a response; `image_tokens(width, height, tiles)` about what an image takes of a prompt.
    """

    def __init__(self, processor: Any, model: Any, family: Any, max_tiles: int) -> None:
        self._processor, self._model, self._family, self._max_tiles = processor, model, family, max_tiles
        self._tokenizer: Any = getattr(processor, "tokenizer", processor)
        self._architecture = type(model).__name__
        # Of what the processor makes of images, what the model's forward takes, or that of the model inside it.
        taken = {name for each in (model, model.base_model) for name in inspect.signature(each.forward).parameters}
        self._image_inputs = set(processor.image_processor.model_input_names) & taken
        self.image_token = family.image_token(model)
        self._mark = str(getattr(processor, "image_token", "") or "")
        self._reserved = ReservedTokens(self._tokenizer)
        self._plain = plain_encoder(self._tokenizer)
        self.end = end_of_turn(processor)
        self.image_tokens = lru_cache(maxsize=4096)(self._image_tokens)

    def encode(self, shard: Shard, group: int, first: int, stop: int) -> Encoded:
        """The pairs of one question. Nothing is raised for a bad pair: it is left out, with its reason."""
        pairs = shard.pairs(group, first, stop)
        good, rejects, tokens_of = list[PreferencePair](), list[PairReject](), cache(self.response)
        try:
            prompt, images = self.prompt(pairs[0], shard)
            for pair in pairs:
                try:
                    make_group([pair], prompt, tokens_of)
                    good.append(pair)
                except ItemRejected as reject:
                    rejects.append(_rejected(pair, reject))
            made = make_group(good, prompt, tokens_of) if good else None
            if made:
                with _refusing():
                    tokens = self._family.image_tokens(self._model, images)
                require_images_match(made, self.image_token, tokens)
        except ItemRejected as reject:  # of the question: none of its pairs can be used
            return Encoded(None, {}, tuple(_rejected(pair, reject) for pair in pairs))
        return Encoded(made, images, tuple(rejects))

    def text(self, tokens: Sequence[int]) -> str:
        """A response's text, without control tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def response(self, text: str) -> tuple[int, ...]:
        """Tokens of a response and the end of the turn."""
        with _refusing():
            return (*self._plain(text), self.end)

    def prompt(self, pair: PreferencePair, shard: Shard) -> tuple[tuple[int, ...], dict[str, Tensor]]:
        """Tokens of the user's turn, or of the conversation that it ends, and the model's inputs of its images.

        Raises ItemRejected.
        """
        parts: list[dict[str, object]] = [{"type": "image"} for _ in pair.images]
        messages = messages_of(pair.prompt, parts, interleaved)
        if self._mark and self._mark in pair.prompt.replace(IMAGE_MARK, "\n"):
            raise ItemRejected("reserved_token", f"the text holds {self._mark}")
        pictures = [decode_image(shard.image(name)) for name in pair.images]
        tiles = tile_settings(self._architecture, shard.tiles.get(pair.question_id, 1), self._max_tiles)
        with _refusing():
            self._reserved.refuse(pair.prompt)
            text = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            if not pictures:
                return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"]), {}
            return self._inputs(text, pictures, tiles)

    def blank(self) -> dict[str, Tensor]:
        """The model's inputs of a small picture, a white one: zeros are padding to some models. Raises ConfigError."""
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
        picture = PIL.Image.new("RGB", (28, 28), "white")
        try:
            with _refusing():
                text = self._processor.apply_chat_template(messages, tokenize=False)
                return self._inputs(text, [picture], tile_settings(self._architecture, 1))[1]
        except ItemRejected as error:
            raise ConfigError(
                f"The model's processor refuses a small white picture: {error.detail}",
                remedy="Correct the processor or the chat template of the model's folder.",
            ) from None

    def _inputs(
        self, text: str, pictures: Sequence[Any], tiles: Mapping[str, object]
    ) -> tuple[tuple[int, ...], dict[str, Tensor]]:
        made = self._processor(text=[text], images=[pictures], return_tensors="pt", add_special_tokens=False, **tiles)
        images = {name: torch.as_tensor(value) for name, value in made.items() if name in self._image_inputs}
        return tuple(made["input_ids"][0].tolist()), images

    def _image_tokens(self, width: int, height: int, tiles: int) -> int:
        """About how many tokens of the prompt an image takes, without opening it: by what transformers' processors tell
        inference engines; by the area where they tell nothing."""
        settings = tile_settings(self._architecture, tiles, self._max_tiles)
        try:
            if settings:  # tiles of one size
                cut = self._processor.image_processor.get_number_of_image_patches(height, width, settings)
                return int(cut) * (self._family.tokens_per_tile(self._model) or _TILE_TOKENS)
            counted = self._processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
            return int(counted["num_image_tokens"][0])
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError):
            return max(1, width * height // _PIXELS)


@contextmanager
def _refusing() -> Iterator[None]:
    """Whatever a processor or tokenizer raises rejects the item: they do not foresee every text."""
    try:
        yield
    except ItemRejected:
        raise
    except Exception as error:
        raise ItemRejected("prompt_refused", f"{type(error).__name__}: {error}"[:200]) from None


def _rejected(pair: PreferencePair, reject: ItemRejected) -> PairReject:
    return PairReject(pair.pair_id, pair.source, pair.source_id, reject.reason, reject.detail[:300])


def end_of_turn(processor: Any) -> int:
    """The token by which the chat template ends an assistant's turn; the tokenizer's end token if it writes none.

    Not always the tokenizer's `eos_token`: InternLM2's is `</s>`, while turns end with `<|im_end|>`.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": _SENTINEL}]},
    ]
    rendered = processor.apply_chat_template(turns, tokenize=False)
    after = rendered.rpartition(_SENTINEL)[2] if _SENTINEL in rendered else ""
    ids = tokenizer(after, add_special_tokens=False)["input_ids"] if after.strip() else []
    end = ids[0] if ids else tokenizer.eos_token_id
    if end is None:
        raise ConfigError(
            "Neither the chat template nor the tokenizer says how a turn ends.", remedy="Set the tokenizer's eos_token."
        )
    return int(end)


def require_images_match(group: Group, image_token: int, expected: int | None) -> None:
    """Reject a group whose prompt has not as many image tokens as its images have features: `image_tokens_mismatch`.
    None: the inputs do not say how many that is; then some must be there where images are.

    A prompt cut to a length, or an image mark lost on the way, would otherwise pair the wrong features with the text.
    """
    found = group.prompt.count(image_token)
    if found != expected if expected is not None else bool(found) != bool(group.images):
        detail = f"{found} image tokens in the prompt, {expected or 'some'} from {len(group.images)} images"
        raise ItemRejected("image_tokens_mismatch", detail)
