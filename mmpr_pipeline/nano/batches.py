"""From lessons to tensors: token ids, which of them are to be learned, pictures, and what their patches show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmpr_pipeline.nano.lessons import Lesson, lesson
from mmpr_pipeline.nano.model import SPECIALS, VISUAL_TOKENS
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK
from mmpr_pipeline.sources.generated.shapes import COLOURS, SHAPES, GeneratedScene

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

POOL = 8  # batches drawn together and sorted by length, so that little is padded
_COLOUR = {name: n for n, name in enumerate(["", *COLOURS])}
_SHAPE = {name: n for n, name in enumerate(["", *SHAPES, "bar", "label"])}
PATCH_CLASSES = {"colour": len(_COLOUR), "shape": len(_SHAPE), "number": 122}


@dataclass(frozen=True)
class Batch:
    """B chats of at most T tokens, P of them with a picture.

    ids (B, T), padded on the right; learn (B, T): True where the token is part of a response (its end included);
    pixels (P, 3, 112, 112) in -1..1; patches (P, 16, 3): colour, shape and number class of each visual token.
    """

    ids: torch.Tensor
    learn: torch.Tensor
    pixels: torch.Tensor
    patches: torch.Tensor


def picture_tensor(world: GeneratedScene) -> torch.Tensor:
    """(3, 112, 112) in -1..1: what the processor makes of the picture."""
    values = np.asarray(world.draw(), dtype=np.float32) / 127.5 - 1.0
    return torch.from_numpy(values).permute(2, 0, 1)


def patch_labels(world: GeneratedScene) -> list[list[int]]:
    """Colour, shape and number class of each of the 16 visual tokens."""
    return [[_COLOUR[p.colour], _SHAPE[p.shape], p.number + 1] for p in world.patches()]


class LessonEncoder:
    """Chats to token ids, exactly as the chat template and the processor write them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.pad = tokenizer.convert_tokens_to_ids(SPECIALS["pad_token"])
        context = SPECIALS["context_image_token"] * VISUAL_TOKENS
        self._tile = f"{SPECIALS['start_image_token']}{context}{SPECIALS['end_image_token']}"

    def prompt(self, turn: str) -> list[int]:
        """Ids of a user turn and of the opening of the assistant's."""
        text = turn.replace(IMAGE_MARK, self._tile)
        return self._ids(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")

    def response(self, text: str) -> list[int]:
        """Ids of a whole response, with its end."""
        return self._ids(f"{text}{SPECIALS['eos_token']}")

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def batch(self, lessons: list[Lesson]) -> Batch:
        """Tensors of some lessons."""
        chats = [(self.prompt(each.prompt), self.response(each.response)) for each in lessons]
        longest = max(len(prompt) + len(response) for prompt, response in chats)
        ids = torch.full((len(chats), longest), self.pad)
        learn = torch.zeros((len(chats), longest), dtype=torch.bool)
        for row, (prompt, response) in enumerate(chats):
            end = len(prompt) + len(response)
            ids[row, :end] = torch.tensor(prompt + response)
            learn[row, len(prompt) : end] = True
        worlds = [each.world for each in lessons if each.world is not None]
        pixels = torch.stack([picture_tensor(world) for world in worlds])
        return Batch(ids, learn, pixels, torch.tensor([patch_labels(world) for world in worlds]))


def lesson_batches(encoder: LessonEncoder, seed: int, size: int) -> Iterator[Batch]:
    """Batches of the endless series of lessons of a seed."""
    return sorted_batches(encoder, (lesson(seed, index) for index in count()), seed, size)


def sorted_batches(encoder: LessonEncoder, lessons: Iterator[Lesson], seed: int, size: int) -> Iterator[Batch]:
    """Batches of lessons that are about equally long, from an endless series."""
    order = torch.Generator().manual_seed(seed)
    while True:
        pool = list(islice(lessons, POOL * size))
        pool.sort(key=lambda each: len(each.prompt) + len(each.response))
        for n in torch.randperm(POOL, generator=order).tolist():
            yield encoder.batch(pool[n * size : (n + 1) * size])
