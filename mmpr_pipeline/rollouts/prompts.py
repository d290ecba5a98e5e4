"""Prompt templates: how a question becomes the user turn of a chat, or the conversation that ends in it.

A template has a name and a version; both go into every rollout, and a change of wording is a new version. The
question's images are marked by `<image>`: where the question's text does not place them itself, they come first. What
a source itself wrote about how to answer is gone before (`sources.instructions`): there is one instruction.

Some rollouts are sampled beside a question's own (asides): without its image, or after the first steps of a response.
They are stored with the others, with `parent` set, so that nothing takes them for answers to the question. The label of
their prompt ends in what they are for, as in `cot-final-en@1+blind@1`; where several prompts of a question have the
same purpose, in `#` and what tells them apart.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from typing import Literal

from mmpr_pipeline.checking.reading.focus import THINK_END as THINK_END
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Prompting, Question, Rollout, Turn
from mmpr_pipeline.core.verdict import AnswerKind
from mmpr_pipeline.models.messages import IMAGE_MARK as IMAGE_MARK
from mmpr_pipeline.models.messages import conversation

THINK_START = "<think>"
"""What begins the reasoning in the style `cot-think`; THINK_END ends it."""
THINKS = "cot-think"
"""How the label of a prompt begins that asks for it."""

Style = Literal["cot-final", "cot-boxed", "cot-think", "direct"]
PromptLanguage = Literal["auto", "en", "zh"]
"""Language of the instruction; auto: that of the question."""


@dataclass(frozen=True)
class PromptTemplate:
    """One instruction: `suffix` follows the question and its choices."""

    name: str
    version: int | str
    suffix: str

    @property
    def label(self) -> str:
        """Name and version as written into records, e.g. `cot-final-en@1`."""
        return f"{self.name}@{self.version}"


_TEMPLATES = [
    PromptTemplate("cot-final-en", 1, "Think step by step, then end with a line of the form: Final answer: ANSWER"),
    PromptTemplate("cot-boxed-en", 1, "Think step by step, then put the result alone in \\boxed{} at the end."),
    PromptTemplate(
        "cot-think-en",
        1,
        "First reason step by step between <think> and </think>. After </think>, write only one line of the form: "
        "Final answer: ANSWER",
    ),
    PromptTemplate("cot-final-zh", 1, "请一步一步推理，并在最后一行写出：最终答案：答案"),
    PromptTemplate("cot-boxed-zh", 1, "请一步一步推理，最后把结果写在 \\boxed{} 中。"),
    PromptTemplate(
        "cot-think-zh", 1, "请先在 <think> 和 </think> 之间一步一步推理，在 </think> 之后只写一行：最终答案：答案"
    ),
    PromptTemplate("direct-en", 1, "Reply with the answer only."),
    PromptTemplate("direct-zh", 1, "请直接给出答案。"),
    PromptTemplate("open-en", 1, ""),
    PromptTemplate("open-zh", 1, ""),
]
_PRESET = PromptTemplate("preset", 1, "")
TEMPLATES = {template.name: template for template in _TEMPLATES}


def template_for(question: Question, style: str, language: str = "auto") -> PromptTemplate:
    """The template of a style in the question's language, or in `language`; or what the question's source wants.

    Open-ended questions take `open`: they have no final answer to ask for. `direct` stays direct, whatever style the
    source wants for reasoning.
    """
    wanted = question.prompting or Prompting()
    style = style if style == "direct" else wanted.style or style
    language = wanted.language or (question.language if language == "auto" else language)
    name = f"{'open' if question.kind == 'none' else style}-{language}"
    if name not in TEMPLATES:
        styles = sorted({n.rsplit("-", 1)[0] for n in TEMPLATES} - {"open"})
        raise ConfigError(
            f"Unknown prompt: style {style!r} in language {language!r}.",
            remedy=f"Styles: {', '.join(styles)}; languages: en, zh.",
        )
    own = wanted.open if question.kind == "none" else wanted.direct if style == "direct" else wanted.cot
    if own is None:
        return TEMPLATES[name]
    # The source's own instruction: its version is its content, so that no change of it is forgotten.
    return PromptTemplate(f"{name}-{question.source}", version_of(own), own)


def version_of(instruction: str) -> str:
    """The version of an instruction that is a source's own: the first 8 hex digits of its sha256."""
    return hashlib.sha256(instruction.encode()).hexdigest()[:8]


def prompt_text(question: Question, template: PromptTemplate) -> str:
    """The full text of the prompt, with exactly one `<image>` mark for each image of the question.

    It is the user turn; or, of a question with a history, the conversation that ends in it (`conversation`). Marks that
    are missing go before the first thing that the user says. Raises ItemRejected (`turn_mark`).
    """
    lines = [question.text]
    if question.choices and question.kind != "none":
        letters = string.ascii_uppercase
        lines += [f"({letters[i]}) {choice}" for i, choice in enumerate(question.choices)]
    if question.prompting and question.prompting.hint:
        lines.append(question.prompting.hint)
    asked = Turn(role="user", text="\n".join([*lines, template.suffix] if template.suffix else lines))
    turns = [*question.history, asked]
    others = question.text.count(IMAGE_MARK) + sum(turn.text.count(IMAGE_MARK) for turn in question.history)
    first = next(number for number, turn in enumerate(turns) if turn.role == "user")
    marks = (IMAGE_MARK + "\n") * max(len(question.images) - others, 0)
    turns[first] = Turn(role="user", text=marks + turns[first].text)
    return conversation(turns)


def place_images(text: str, count: int) -> str:
    """Put the missing image marks in front of the text; the sources' readers have already removed any excess ones."""
    missing = count - text.count(IMAGE_MARK)
    return (IMAGE_MARK + "\n") * max(missing, 0) + text


def without_images(turn: str) -> str:
    """The user turn with every image mark removed: what DropNTP continues from."""
    return turn.replace(IMAGE_MARK + "\n", "").replace(IMAGE_MARK, "")


def without_template(turn: str) -> str:
    """The user turn without the instruction of a template: what of it comes from data."""
    return next((turn.removesuffix(end) for end in _ENDS if turn.endswith(end)), turn)


_ENDS = tuple(f"\n{template.suffix}" for template in _TEMPLATES if template.suffix)


@dataclass(frozen=True)
class Prompt:
    """What one question is asked with, its user turn or conversation, and the label of the template that made it."""

    text: str
    version: str


def prompt_for(question: Question, style: str, language: str = "auto") -> Prompt:
    """The question's user turn in a style, with its template's label; where it was asked before, that very turn."""
    if question.prompting and question.prompting.turn is not None:
        return Prompt(question.prompting.turn, question.prompting.label)
    template = template_for(question, style, language)
    return Prompt(prompt_text(question, template), template.label)


def votable_kind(question: Question) -> AnswerKind:
    """What kind of answer a question without a gold has, where its rollouts vote on it."""
    return "choice" if question.choices else "math"


def turn_for_vote(question: Question, style: str, language: str = "auto") -> Prompt:
    """The turn of a question without a gold that asks for a final answer, as for one with a gold."""
    return prompt_for(question.model_copy(update={"kind": votable_kind(question)}), style, language)


def with_own_prompt(question: Question) -> Question:
    """The question with its user turn fixed to its own words: what the responses that its source brings answer."""
    if question.prompting and question.prompting.turn is not None:
        return question
    asked = (question.prompting or Prompting()).model_copy(
        update={"turn": prompt_text(question, _PRESET), "label": _PRESET.label}
    )
    return question.model_copy(update={"prompting": asked})


# ---- asides

BLIND = "blind@1"
"""Answers to the question without its image: the blind filter."""

STEP = "step@1"
"""Completions of a response's first steps: process supervision."""

CLAIM = "claim@1"
"""How likely a claim of an answer is true, by the model itself: feedback."""

CLAIMS = "claims@1"
"""The claims of an answer, as the model lists them: feedback."""

UNDECIDED_VOTES = ("no_answer_to_vote_on", "no_majority", "unanimous")
"""Why a question whose responses voted has no pair."""

NO_PARENT = -1
"""`parent` of a rollout that continues no response."""

_ASIDES = {BLIND, STEP, CLAIM, CLAIMS}


def aside_label(label: str, aside: str, which: str = "") -> str:
    """The label of a prompt, for rollouts of this purpose; `which` tells it from others of the question."""
    return f"{label}+{aside}#{which}" if which else f"{label}+{aside}"


def aside_of(label: str) -> str | None:
    """What a rollout with this prompt label is for, as BLIND; None for answers to the question."""
    aside = label.rpartition("+")[2].partition("#")[0]
    return aside if aside in _ASIDES and "+" in label else None


def asked_label(label: str) -> str:
    """The label of the question's own prompt."""
    return label.rpartition("+")[0] if aside_of(label) else label


def counted_as(label: str) -> str | None:
    """The name under which counts list such rollouts, as `blind`; None for answers to the question."""
    aside = aside_of(label)
    return aside.partition("@")[0] if aside else None


def generated_tokens(rollout: Rollout) -> int:
    """Tokens that were generated: of a continuation (DropNTP) without what it keeps, by its share of the characters.

    Of completions of first steps, engines count what they completed.
    """
    if rollout.parent is None or counted_as(rollout.prompt_version):
        return rollout.tokens
    return rollout.tokens - round(rollout.tokens * rollout.prefix_chars / max(len(rollout.text), 1))
