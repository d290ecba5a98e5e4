"""Prompt templates: how a question becomes the user turn of a chat.

A template has a name and a version; both go into every rollout, and a change of wording is a new version. The
question's images are marked by `<image>`: where the question's text does not place them itself, they come first.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from mmpr_pipeline.errors import ConfigError
from mmpr_pipeline.records import Question

IMAGE_MARK = "<image>"


@dataclass(frozen=True)
class PromptTemplate:
    """One instruction: `suffix` follows the question and its choices."""

    name: str
    version: int
    suffix: str
    reasoning: bool

    @property
    def label(self) -> str:
        """Name and version as written into records, e.g. `cot-final-en@1`."""
        return f"{self.name}@{self.version}"


_TEMPLATES = [
    PromptTemplate(
        "cot-final-en", 1, "Think step by step, then end with a line of the form: Final answer: ANSWER", True
    ),
    PromptTemplate("cot-boxed-en", 1, "Think step by step, then put the result alone in \\boxed{} at the end.", True),
    PromptTemplate("cot-final-zh", 1, "请一步一步推理，并在最后一行写出：最终答案：答案", True),
    PromptTemplate("cot-boxed-zh", 1, "请一步一步推理，最后把结果写在 \\boxed{} 中。", True),
    PromptTemplate("direct-en", 1, "Reply with the answer only.", False),
    PromptTemplate("direct-zh", 1, "请直接给出答案。", False),
    PromptTemplate("open-en", 1, "", True),
    PromptTemplate("open-zh", 1, "", True),
]
TEMPLATES = {template.name: template for template in _TEMPLATES}


def template_for(question: Question, style: str) -> PromptTemplate:
    """The template of a style (`cot-final`, `cot-boxed`, `direct`) in the question's language.

    Open-ended questions take `open`: they have no final answer to ask for.
    """
    name = f"{'open' if question.kind == 'none' else style}-{question.language}"
    if name not in TEMPLATES:
        styles = sorted({n.rsplit("-", 1)[0] for n in TEMPLATES})
        raise ConfigError(f"Unknown prompt style {style!r}.", remedy=f"Use one of: {', '.join(styles)}.")
    return TEMPLATES[name]


def user_turn(question: Question, template: PromptTemplate) -> str:
    """The full text of the user turn, with exactly one `<image>` mark for each image of the question."""
    lines = [place_images(question.text, len(question.images))]
    if question.choices and question.kind != "none":
        letters = string.ascii_uppercase
        lines += [f"({letters[i]}) {choice}" for i, choice in enumerate(question.choices)]
    return "\n".join([*lines, template.suffix] if template.suffix else lines)


def place_images(text: str, count: int) -> str:
    """Put the missing image marks in front of the text; the sources' readers have already removed any excess ones."""
    missing = count - text.count(IMAGE_MARK)
    return (IMAGE_MARK + "\n") * max(missing, 0) + text


def without_images(turn: str) -> str:
    """The user turn with every image mark removed: what DropNTP continues from."""
    return turn.replace(IMAGE_MARK + "\n", "").replace(IMAGE_MARK, "")


@dataclass(frozen=True)
class Turn:
    """The user turn of one question and the label of the template that made it."""

    text: str
    version: str


def turn_for(question: Question, style: str) -> Turn:
    """The question's user turn in a style, with its template's label."""
    template = template_for(question, style)
    return Turn(user_turn(question, template), template.label)
