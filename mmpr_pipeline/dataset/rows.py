"""The rows of an output's Arrow files as plain data: what `to_pylist` gives of the tables of `core.schemas`.

A row is a dictionary with one entry a column; it is read from a file and never checked again, as the file's schema was.
What a column means is said in `core.records`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from mmpr_pipeline.core.records import AnswerKind, FinishReason, Language, Outcome


class PairFields(TypedDict):
    """A row of a pairs file."""

    pair_id: str
    question_id: str
    source: str
    source_id: str
    strategy: str
    question: str
    prompt: str
    images: list[str]
    chosen: str
    rejected: str
    answer: str | None
    chosen_answer: str | None
    rejected_answer: str | None
    chosen_tokens: int
    rejected_tokens: int
    prompt_tokens: int
    chosen_index: int
    rejected_index: int
    chosen_rule: str
    rejected_rule: str
    shared_chars: int
    kind: AnswerKind
    language: Language
    model: str
    rejected_model: str
    prompt_version: str
    checker: str
    seed: int
    rejected_seed: int


class RolloutFields(TypedDict):
    """A row of a rollouts file."""

    question_id: str
    round: int
    index: int
    seed: int
    text: str
    tokens: int
    prompt_tokens: int
    finish_reason: FinishReason
    model: str
    prompt_version: str
    parent: int | None
    prefix_chars: int
    source: str
    source_id: str
    outcome: Outcome | None
    extracted: str | None
    rule: str | None
    checker: str | None


class QuestionFields(TypedDict):
    """A row of a questions file."""

    source: str
    source_id: str
    question_id: str | None
    status: Literal["paired", "unpaired", "rejected"]
    reason: str | None
    detail: str
    pairs: int
    rollouts: int
    correct: int
    incorrect: int
    unparseable: int
    rounds: int
    generated_tokens: int
    text: str
    prompt: str
    choices: list[str]
    images: list[str]
    kind: AnswerKind
    answer: str | None
    answers: list[str]
    unit: str | None
    precision: float | None
    language: Language
    tiles: int
    instruction: str
