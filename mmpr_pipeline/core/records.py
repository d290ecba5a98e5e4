"""The records of the pipeline: Question -> Rollout -> Verdict -> PreferencePair.

Each record is frozen. What a field means is said once, in its description, and carried from there into the JSON
Schemas and the Arrow schemas (as field metadata) under `schemas/`. No heavy import: this module is the ground floor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from mmpr_pipeline.core.verdict import AnswerKind as AnswerKind
from mmpr_pipeline.core.verdict import Outcome as Outcome
from mmpr_pipeline.core.verdict import Verdict as Verdict

SCHEMA_VERSION = "1"

Language = Literal["en", "zh"]
FinishReason = Literal["stop", "length", "recorded"]
Role = Literal["system", "user", "assistant"]


class Record(BaseModel):
    """A frozen value; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Image(Record):
    """One image as it is stored: upright, of a mode that any reader understands, and checked."""

    sha256: str = Field(description="sha256 of `data`, hex; the image's name everywhere.")
    data: bytes = Field(description="Encoded image file.", repr=False)
    format: str = Field(description="Encoding of `data`: png, jpeg, webp or gif.")
    width: int = Field(description="Width in pixels.")
    height: int = Field(description="Height in pixels.")


class Prompting(Record):
    """How a question is to be asked, where that is other than its build would ask it."""

    style: str | None = Field(default=None, description="Prompt style, where the build asks for reasoning.")
    language: Language | None = Field(default=None, description="Language of the instruction.")
    cot: str | None = Field(default=None, description="The source's own instruction, where reasoning is asked for.")
    direct: str | None = Field(default=None, description="The source's own instruction, where only the answer is.")
    open: str | None = Field(default=None, description="The source's own instruction for open-ended questions.")
    hint: str | None = Field(default=None, description="The row's own hint on how to answer, where it is to be kept.")
    turn: str | None = Field(default=None, description="The whole user turn, where it was asked before.")
    label: str = Field(default="", description="Name and version of the prompt that made `turn`.")


class PresetPair(Record):
    """Two responses of which a source says which is the better one."""

    chosen: str = Field(description="The preferred response.")
    rejected: str = Field(description="The dispreferred response.")


class Turn(Record):
    """What was said before a question: a system prompt, or an earlier turn of its conversation."""

    role: Role = Field(description="Who speaks: system, user or assistant.")
    text: str = Field(description="What is said; `<image>` marks where an image goes.")


class Question(Record):
    """One visual question with its images and, where there is one, its answer."""

    question_id: str = Field(description="First 32 hex digits of sha256 over source, image bytes, question, choices.")
    source: str = Field(description="Name of the source that the question came from.")
    source_id: str = Field(description="The question's id as its source gives it, else its row number.")
    text: str = Field(description="The question as asked, without instruction; `<image>` marks where an image goes.")
    instruction: str = Field(default="", description="How to answer, as the source told it; taken off the text.")
    choices: tuple[str, ...] = Field(default=(), description="Texts of the choices A, B, C, ... in order.")
    images: tuple[Image, ...] = Field(default=(), description="Images in the order in which the question names them.")
    kind: AnswerKind = Field(description="What kind of answer is expected; `none` for open-ended questions.")
    answer: str | None = Field(default=None, description="The gold answer; null for open-ended questions.")
    answers: tuple[str, ...] = Field(default=(), description="Further golds, each as good as `answer`.")
    unit: str | None = Field(default=None, description="Unit of a numeric gold, where the source states one.")
    precision: float | None = Field(default=None, description="Decimals asked for in a numeric answer, if stated.")
    language: Language = Field(default="en", description="Language of the question.")
    tiles: int = Field(default=6, description="Most image tiles the model may use (the paper: 6 general, 12 OCR).")
    prompting: Prompting | None = Field(default=None, description="How to ask it, if not as the build does.")
    preset: PresetPair | None = Field(default=None, description="The pair of responses that its source brings, if any.")
    history: tuple[Turn, ...] = Field(default=(), description="System prompt and turns before the question, in order.")


class Rollout(Record):
    """One response that a model sampled; or, with `parent` set, a response continued without the image (DropNTP)."""

    question_id: str = Field(description="The question answered.")
    round: int = Field(description="Sampling round, from 0.")
    index: int = Field(description="Number of the rollout within its question, from 0, continuations last.")
    seed: int = Field(description="Sampling seed: a function of question id, round and index.")
    text: str = Field(description="The whole response; for a continuation, the kept prefix and what was continued.")
    tokens: int = Field(description="Tokens of `text`, or after a step, as the model counts them; 0 if unknown.")
    prompt_tokens: int = Field(default=0, description="Tokens of the prompt, image tokens included; 0 if not known.")
    finish_reason: FinishReason = Field(description="Why generation ended: stop, length, or recorded (replay).")
    model: str = Field(description="The model that sampled it.")
    prompt_version: str = Field(description="Name and version of the prompt template.")
    parent: int | None = Field(default=None, description="For a continuation: index of the rollout that was cut.")
    prefix_chars: int = Field(default=0, description="For a continuation: leading characters kept from the parent.")


VerdictRecord: type[Record] = create_model(
    "Verdict",
    __base__=Record,
    __doc__=Verdict.__doc__,
    **{
        part.name: (
            get_type_hints(Verdict)[part.name],
            Field(... if part.default is MISSING else part.default, description=part.metadata["description"]),
        )
        for part in fields(Verdict)
    },  # type: ignore[call-overload]
)
"""`Verdict`, which is plain data, as a record: for its JSON Schema."""


class PreferencePair(Record):
    """One chosen and one rejected response to a question."""

    pair_id: str = Field(description="First 32 hex digits of sha256 over question id, strategy, chosen and rejected.")
    question_id: str = Field(description="The question answered.")
    source: str = Field(description="Name of the question's source.")
    source_id: str = Field(description="The question's id as its source gives it.")
    strategy: str = Field(description="How the rejected response came about: correctness or dropout_ntp.")
    question: str = Field(description="The question as asked, without instruction.")
    prompt: str = Field(description="The full user turn as sampled; `<image>` marks where an image goes.")
    images: tuple[str, ...] = Field(description="sha256 of each image, in order; bytes are in the images file.")
    chosen: str = Field(description="The preferred response.")
    rejected: str = Field(description="The dispreferred response.")
    answer: str | None = Field(description="The gold answer; null for open-ended questions.")
    chosen_answer: str | None = Field(description="The answer that the checker found in `chosen`.")
    rejected_answer: str | None = Field(description="The answer that the checker found in `rejected`.")
    chosen_tokens: int = Field(description="Tokens of `chosen` as the model counts them; 0 if not known.")
    rejected_tokens: int = Field(description="Tokens of `rejected` as the model counts them; 0 if not known.")
    prompt_tokens: int = Field(description="Tokens of the prompt, image tokens included; 0 if not known.")
    chosen_index: int = Field(description="Index of the chosen rollout within its question.")
    rejected_index: int = Field(description="Index of the rejected rollout within its question.")
    chosen_rule: str = Field(description="The checker's rule that decided on `chosen`.")
    rejected_rule: str = Field(description="The checker's rule that decided on `rejected`.")
    shared_chars: int = Field(description="Leading characters of `rejected` cut from `chosen` (DropNTP); else 0.")
    kind: AnswerKind = Field(description="What kind of answer was expected.")
    language: Language = Field(description="Language of the question.")
    model: str = Field(description="The model that sampled the chosen response.")
    rejected_model: str = Field(description="The model that sampled the rejected response.")
    prompt_version: str = Field(description="Name and version of the prompt template.")
    checker: str = Field(description="Name and version of the checker.")
    seed: int = Field(description="Sampling seed of the chosen response.")
    rejected_seed: int = Field(description="Sampling seed of the rejected response.")


class Reject(Record):
    """An item that was not used, and why; counted and listed in the manifest of its shard."""

    source: str = Field(description="Name of the source.")
    source_id: str = Field(description="The item's id as its source gives it, or `row N`.")
    reason: str = Field(description="Short fixed name of the reason, e.g. broken_image.")
    detail: str = Field(default="", description="What was seen, bounded in length.")


class CheckedRollout(Rollout):
    """A rollout with its verdict, as kept in the rollouts file of a shard."""

    source: str = Field(description="Name of the question's source.")
    source_id: str = Field(description="The question's id as its source gives it.")
    outcome: Outcome | None = Field(description="The checker's verdict; null for questions without an answer.")
    extracted: str | None = Field(description="The answer that the checker found.")
    rule: str | None = Field(description="The checker's rule that decided.")
    checker: str | None = Field(description="Name and version of the checker.")


class QuestionRow(Record):
    """One row of a source and what became of it, as kept in the questions file of a shard.

    Together with the rollouts and images of the shard it is all that re-checking and re-pairing needs.
    """

    source: str = Field(description="Name of the source.")
    source_id: str = Field(description="The row's id as its source gives it, or `row N`.")
    question_id: str | None = Field(description="The question's id; null where the row never became a question.")
    status: Literal["paired", "unpaired", "rejected"] = Field(description="paired, unpaired or rejected.")
    reason: str | None = Field(description="Why it is not paired; null for paired questions.")
    detail: str = Field(default="", description="What was seen, bounded in length.")
    pairs: int = Field(default=0, description="Pairs made from the question.")
    rollouts: int = Field(default=0, description="Rollouts sampled with the image.")
    correct: int = Field(default=0, description="Rollouts judged correct.")
    incorrect: int = Field(default=0, description="Rollouts judged incorrect.")
    unparseable: int = Field(default=0, description="Rollouts judged unparseable.")
    rounds: int = Field(default=0, description="Sampling rounds that were run.")
    generated_tokens: int = Field(
        default=0, description="Tokens generated; of continuations what was continued, not what was kept."
    )
    text: str = Field(default="", description="The question as asked.")
    prompt: str = Field(default="", description="The full user turn as sampled; `<image>` marks where an image goes.")
    choices: tuple[str, ...] = Field(default=(), description="Texts of the choices A, B, C, ... in order.")
    images: tuple[str, ...] = Field(default=(), description="sha256 of each image, in order.")
    kind: AnswerKind = Field(default="none", description="What kind of answer was expected.")
    answer: str | None = Field(default=None, description="The gold answer.")
    answers: tuple[str, ...] = Field(default=(), description="Further golds.")
    unit: str | None = Field(default=None, description="Unit of a numeric gold.")
    precision: float | None = Field(default=None, description="Decimals asked for in a numeric answer.")
    language: Language = Field(default="en", description="Language of the question.")
    tiles: int = Field(default=6, description="Most image tiles the model may use.")
    instruction: str = Field(default="", description="How to answer, as the source told it; taken off the text.")


@dataclass(frozen=True)
class QuestionOutcome:
    """Everything that came of one question: its row, its images, its checked rollouts, its pairs."""

    row: QuestionRow
    images: tuple[Image, ...] = ()
    rollouts: tuple[CheckedRollout, ...] = ()
    pairs: tuple[PreferencePair, ...] = ()


def content_id(*parts: str | bytes | Iterable[str]) -> str:
    """First 32 hex digits of sha256 over length-prefixed parts, so that no two part lists collide by concatenation."""
    digest = hashlib.sha256()
    for part in parts:
        pieces = [part] if isinstance(part, str | bytes) else list(part)
        digest.update(f"{len(pieces)};".encode())
        for piece in pieces:
            raw = piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece
            digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()[:32]


def question_id(source: str, image_digests: Iterable[str], text: str, choices: Iterable[str] = ()) -> str:
    """Identity of a question: its source, the sha256 of each image file as the source holds it, text and choices.

    The text is the source's, with the instruction that `Question.text` is without: ids outlive rules of taking it off.
    """
    return content_id(source, image_digests, text, choices)
