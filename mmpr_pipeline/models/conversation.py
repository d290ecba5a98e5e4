"""Conversations: a system prompt and earlier turns before the question, in the one text that `prompt` is everywhere.

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
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, get_args

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Role, Turn

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
