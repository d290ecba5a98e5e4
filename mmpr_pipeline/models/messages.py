"""What a model is asked: conversations as messages of a chat, with their images, and the tiles these are cut into.

A prompt is one text everywhere, a system prompt and earlier turns before the question included.

A question that follows on nothing is asked in a user turn alone, and its prompt is that turn's text. Otherwise the
prompt holds every turn, each headed by a line of `TURN_MARK` and who speaks:

    ␞system
    Answer as a geometer would.
    ␞user
    <image>
    What is this?
    ␞assistant
    A triangle.
    ␞user
    How many of its angles are right? ...

So records, shards and stored outputs need no further column, and whatever puts a prompt to a model takes it apart with
`turns_of`. No text of a source may hold the mark: it could speak for another.

InternVL cuts a large image into tiles of one size (448 px) and adds a thumbnail of the whole where there is more than
one. The original format and the transformers-native one name the setting differently; other models have no tiles, and
their own image processor decides.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar, get_args

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Image, Role, Turn

if TYPE_CHECKING:
    import PIL.Image

log = logging.getLogger(__name__)

TURN_MARK = "\u241e"
"""SYMBOL FOR RECORD SEPARATOR: a sign that can be seen, and that nobody writes."""
IMAGE_MARK = "<image>"

_ROLES = get_args(Role)
P = TypeVar("P")


def conversation(turns: Sequence[Turn]) -> str:
    """The prompt of these turns, of which the last is the user's. Raises ItemRejected (`turn_mark`)."""
    if any(TURN_MARK in turn.text for turn in turns):
        raise ItemRejected("turn_mark", f"the text holds {TURN_MARK}, which stands between turns")
    if len(turns) == 1:
        return turns[0].text
    return "\n".join(f"{TURN_MARK}{turn.role}\n{turn.text}" for turn in turns)


def turns_of(prompt: str) -> list[Turn]:
    """The turns of a prompt; one of the user's where it is no conversation."""
    if not prompt.startswith(TURN_MARK):
        return [Turn(role="user", text=prompt)]
    parts = [part.partition("\n") for part in prompt.split(TURN_MARK)[1:]]
    if any(role not in _ROLES for role, _, _ in parts):
        return [Turn(role="user", text=prompt)]
    last = len(parts) - 1
    return [
        Turn(role=role, text=text if number == last else text.removesuffix("\n"))  # type: ignore[arg-type]
        for number, (role, _, text) in enumerate(parts)
    ]


def messages_of(
    prompt: str, images: Sequence[P], content: Callable[[list[str], list[P]], object]
) -> list[dict[str, object]]:
    """The messages of a chat. `content` makes a message's content of its text, cut at the marks, and its images.

    Raises ItemRejected (`image_marks`) where the marks are not as many as the images.
    """
    if (marks := prompt.count(IMAGE_MARK)) != len(images):
        raise ItemRejected("image_marks", f"{marks} marks for {len(images)} images")
    messages: list[dict[str, object]] = []
    first = 0
    for turn in turns_of(prompt):
        pieces = turn.text.split(IMAGE_MARK)
        here = list(images[first : first + len(pieces) - 1])
        first += len(here)
        messages.append({"role": turn.role, "content": content(pieces, here)})
    return messages


def decode_image(image: Image) -> PIL.Image.Image:
    """The picture; it was checked and bounded when it was read from its source. Raises ItemRejected if it is not."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(image.data)) as opened:
            return opened.convert("RGB")
    except Exception as error:  # decoders raise whatever they like on bytes that are not what they were
        raise ItemRejected("broken_image", str(error)[:200]) from None


def interleaved(pieces: list[str], images: list[dict[str, object]]) -> list[dict[str, object]]:
    """Content parts in order. A line break after a mark belongs to the mark: templates set their own around images."""
    parts: list[dict[str, object]] = []
    for i, piece in enumerate(pieces):
        if i > 0:
            parts.append(images[i - 1])
            piece = piece.removeprefix("\n")
        if piece:
            parts.append({"type": "text", "text": piece})
    return parts


def marked(pieces: list[str], mark_of: Callable[[int], str]) -> dict[str, object]:
    """One text with the model's own mark for each image."""
    text = pieces[0] + "".join(mark_of(i) + piece for i, piece in enumerate(pieces[1:]))
    return {"type": "text", "text": text}


MAX_TILES = 12
"""Most tiles of an image where nothing asks for more: the paper's number for OCR, documents and charts."""

MOST_TILES = 40
"""Most tiles that can be asked for: MMPR's own sources ask for 24."""

_ORIGINAL = {"InternVLChatModel", "InternVLForCausalLM"}
_NATIVE = {"InternVLForConditionalGeneration", "InternS1ForConditionalGeneration"}


def tile_settings(architecture: str | None, tiles: int, most: int = MAX_TILES) -> dict[str, int | bool]:
    """Image-processor settings for at most `tiles` tiles (never above `most`); empty for models without tiles."""
    if tiles > most and architecture in _ORIGINAL | _NATIVE:
        _tell_once(tiles, most)
    tiles = max(1, min(tiles, most))
    if architecture in _ORIGINAL:
        return {"max_dynamic_patch": tiles}
    if architecture in _NATIVE:
        return {"crop_to_patches": True, "min_patches": 1, "max_patches": tiles}
    return {}


@cache
def _tell_once(tiles: int, most: int) -> None:
    log.warning(
        "a source asks for up to %d tiles an image; here they are cut into at most %d (engine.most_tiles when sampling,"
        " max_tiles when training)",
        tiles,
        most,
    )
