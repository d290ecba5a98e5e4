"""What every generated world offers: a picture, questions about it, and labels of what each visual token covers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from PIL import Image

from mmpr_pipeline.core.verdict import AnswerKind


@dataclass(frozen=True)
class SceneQuestion:
    """A question about a world with its gold, and the reasoning that leads there (used for training only).

    `answer` is None for open-ended questions, whose whole response is `reasoning`; for a choice it is the letter.
    """

    question: str
    kind: AnswerKind
    answer: str | None
    reasoning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patch:
    """What the square of one visual token shows: colour and shape names, and a number; "" and -1 where nothing."""

    colour: str = ""
    shape: str = ""
    number: int = -1


class GeneratedScene(Protocol):
    """A generated picture and everything known about it."""

    def key(self) -> str:
        """What the picture shows, without jitter: it decides the split, so no scene is in both."""
        ...

    def draw(self) -> Image.Image:
        """The picture, 112 x 112 px RGB; a pure function of the world."""
        ...

    def ask(self, rng: Random) -> SceneQuestion:
        """One of the questions that this world can answer."""
        ...

    def patches(self) -> list[Patch]:
        """What each of the 4 x 4 visual tokens covers, row by row."""
        ...


def as_choice(rng: Random, question: str, right: str, wrong: list[str], reasoning: str) -> SceneQuestion:
    """Turn a question into a multiple choice of four; the reasoning ends by naming the letter."""
    options = [right, *rng.sample(wrong, 3)]
    rng.shuffle(options)
    letter = "ABCD"[options.index(right)]
    return SceneQuestion(question, "choice", letter, f"{reasoning} That is {letter}.", tuple(options))
