"""Settings of the strategies that have their own: `pairing.options`, by the strategy's name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmpr_pipeline.core.settings import PAIRS, Settings, flag

FEEDBACK_ANSWERS = 8
"""Answers of a question that the strategy `feedback` scores, at most."""

VOTE_ANSWERS = 16
"""Responses to a question without a gold that the strategy `vote` samples."""


class BlindSettings(Settings):
    """Settings of the filter: `pairing.options.blind`."""

    samples: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Answers to each question that are sampled without its image; what is solved so is dropped.",
        json_schema_extra=flag("--blind-filter", PAIRS, default="off"),
    )
    solved: float = Field(
        default=0.75, gt=0, le=1, description="Share of them that must be right for the question to count as solved."
    )
    action: Literal["drop", "mark"] = Field(
        default="drop", description="Drop a solved question before it is sampled, or only say so in its row."
    )


class FeedbackSettings(Settings):
    """Settings of the strategy: `pairing.options.feedback`."""

    claims: Literal["split", "model"] = Field(
        default="split", description="Who splits an answer into claims: a rule (a sentence, a claim), or the model."
    )
    answers: int = Field(
        default=FEEDBACK_ANSWERS, ge=2, le=16, description="Answers of a question that are scored, at most."
    )
    difference: int = Field(default=1, ge=1, description="Claims by which the scores of a pair differ at least.")
    pairs: int = Field(default=2, ge=1, le=4, description="Pairs of a question, at most (RLAIF-V: 2).")
    verify: Literal["first_word", "reasoning"] = Field(
        default="first_word",
        description="How the model says whether a claim is true: by the probabilities of yes and no as its first word"
        " (RLAIF-V), or by a majority of answers that reason first, which needs no probabilities from a server.",
    )
    votes: int = Field(
        default=1, ge=1, le=16, description="Answers that reason, for each claim; a single one is greedy."
    )


class FormatSettings(Settings):
    """Settings of the strategy: `pairing.options.format`."""

    pairs: int = Field(default=2, ge=1, le=64, description="Maximum format pairs per question.")
    cut_off: bool = Field(default=False, description="Take responses that ran out of tokens as ill-formed too.")


class StepSettings(Settings):
    """Settings of the strategy: `pairing.options.step`."""

    responses: int = Field(default=4, ge=1, le=64, description="Responses of a question that are split (VisualPRM: 4).")
    steps: int = Field(default=12, ge=2, le=32, description="Most steps of a response; short ones are joined.")
    samples: int = Field(default=16, ge=1, le=64, description="Completions after each step (VisualPRM: 16).")


class VoteSettings(Settings):
    """Settings of the strategy: `pairing.options.vote`."""

    answers: int = Field(default=VOTE_ANSWERS, ge=3, le=1024, description="Responses sampled for a vote.")
    majority: float = Field(
        default=0.7, gt=0.5, le=1, description="Share of all responses that must give one answer for it to be chosen."
    )
    pairs: int = Field(default=4, ge=1, le=64, description="Maximum pairs per question.")


STRATEGY_OPTIONS: dict[str, type[Settings]] = {
    "blind": BlindSettings,
    "feedback": FeedbackSettings,
    "format": FormatSettings,
    "step": StepSettings,
    "vote": VoteSettings,
}
