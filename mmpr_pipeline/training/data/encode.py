"""From stored pairs to tokens and tiles, exactly as the responses were sampled: the model's own processor and template.

Tokens of the prompt are those that the sampling engine saw (chat template, image tokens expanded, no tokens added),
and a response ends with the token by which the template ends an assistant's turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, ItemRejected
from mmpr_pipeline.core.records import PreferencePair, content_id
from mmpr_pipeline.models.chat import decode_image, interleaved
from mmpr_pipeline.models.tiles import tile_settings
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK
from mmpr_pipeline.training.data.groups import Group, make_group
from mmpr_pipeline.training.data.shards import Shard

_ENCODING_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "chat_template.json", "processor_config.json",
    "preprocessor_config.json",
)  # fmt: skip
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


class Encoder:
    """Encodes questions with a model's processor; safe to use from several threads.

    `model` and `family` say how many image tokens the prompt must hold; `max_tiles` bounds every image.
    """

    def __init__(self, processor: Any, model: Any, family: Any, max_tiles: int) -> None:
        self._processor, self._model, self._family, self._max_tiles = processor, model, family, max_tiles
        self._tokenizer: Any = getattr(processor, "tokenizer", processor)
        self._architecture = type(model).__name__
        self._image_inputs = set(processor.image_processor.model_input_names)
        self._mark = str(getattr(processor, "image_token", "") or "")
        self._end = end_of_turn(processor)

    def encode(self, shard: Shard, group: int, first: int, stop: int) -> Encoded:
        """The pairs of one question. Nothing is raised for a bad pair: it is left out, with its reason."""
        pairs = shard.pairs(group, first, stop)
        try:
            prompt, images = self._prompt(pairs[0], shard)
            made, rejects = self._group(pairs, prompt)
            if made:
                tokens = self._family.image_tokens(self._model, images)
                require_images_match(made, self._model.config.image_token_id, tokens)
        except ItemRejected as reject:  # of the question: none of its pairs can be used
            return Encoded(None, {}, tuple(_rejected(pair, reject) for pair in pairs))
        return Encoded(made, images, rejects)

    def response(self, text: str) -> tuple[int, ...]:
        """Tokens of a response and the end of the turn."""
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*ids, self._end)

    def _group(
        self, pairs: Sequence[PreferencePair], prompt: tuple[int, ...]
    ) -> tuple[Group | None, tuple[PairReject, ...]]:
        """The group of the pairs that can be used, and the others with their reasons."""
        try:
            return make_group(pairs, prompt, self.response), ()
        except ItemRejected:
            pass  # one of the pairs: look for it
        good, rejects = [], []
        for pair in pairs:
            try:
                make_group([pair], prompt, self.response)
                good.append(pair)
            except ItemRejected as reject:
                rejects.append(_rejected(pair, reject))
        return make_group(good, prompt, self.response) if good else None, tuple(rejects)

    def _prompt(self, pair: PreferencePair, shard: Shard) -> tuple[tuple[int, ...], dict[str, Tensor]]:
        pieces = pair.prompt.split(IMAGE_MARK)
        if len(pieces) != len(pair.images) + 1:
            raise ItemRejected("image_marks", f"{len(pieces) - 1} marks for {len(pair.images)} images")
        if self._mark and any(self._mark in piece for piece in pieces):
            raise ItemRejected("reserved_token", f"the text holds {self._mark}")
        pictures = [decode_image(shard.image(name)) for name in pair.images]
        content = interleaved(pieces, [{"type": "image"} for _ in pictures])
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        if not pictures:
            return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"]), {}
        tiles = tile_settings(self._architecture, shard.tiles(pair.question_id), self._max_tiles)
        try:
            made = self._processor(
                text=[text], images=[pictures], return_tensors="pt", add_special_tokens=False, **tiles
            )
        except ValueError as error:  # sides that the model's image processor cannot cut
            raise ItemRejected("prompt_refused", str(error)[:200]) from None
        return tuple(made["input_ids"][0].tolist()), {n: v for n, v in made.items() if n in self._image_inputs}


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


def encoding_digest(folder: Path, max_tiles: int) -> str:
    """Digest of everything that turns a pair into tokens and tiles: tokenizer, template, processor, tile limit."""
    files = [folder / name for name in _ENCODING_FILES]
    return content_id(f"tiles {max_tiles}", *(part for f in files if f.is_file() for part in (f.name, f.read_bytes())))


def require_images_match(group: Group, image_token: int, expected: int) -> None:
    """Reject a group whose prompt has not as many image tokens as its images have features: `image_tokens_mismatch`.

    A prompt cut to a length, or an image mark lost on the way, would otherwise pair the wrong features with the text.
    """
    found = group.prompt.count(image_token)
    if found != expected:
        detail = f"{found} image tokens in the prompt, {expected} from {len(group.images)} images"
        raise ItemRejected("image_tokens_mismatch", detail)
