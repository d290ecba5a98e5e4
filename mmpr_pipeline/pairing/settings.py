"""Settings of pairing, and of the strategies that have their own: `pairing.options`, by the strategy's name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from mmpr_pipeline.core.settings import PAIRS, OptionGroups, Settings, flag

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


# ---- of all strategies

SAMPLED = ("correctness", "dropout_ntp")
"""The paper's strategies, for sampled responses."""


class PairingSettings(Settings):
    """How rollouts become pairs."""

    strategies: tuple[str, ...] = Field(
        default=SAMPLED,
        min_length=1,
        description="Strategies, asked in this order until one makes a pair: correctness, dropout_ntp, feedback, vote, "
        "preset (pairs that the sources bring), dropout_preset (DropNTP on their chosen responses), or the name of an "
        "installed one. In every case: blind (before the others), format, step.",
        json_schema_extra=flag("--strategies", PAIRS),
    )
    max_pairs: int = Field(
        default=15,
        ge=1,
        description="Maximum correctness pairs per question (paper: 15).",
        json_schema_extra=flag("--max-pairs", PAIRS, unit="pairs"),
    )
    dropout_ratio: float = Field(default=0.5, gt=0, lt=1, description="Share of a response's tokens kept (paper: 0.5).")
    dropout_pairs: int = Field(default=2, ge=1, description="Maximum DropNTP pairs per question.")
    options: Annotated[dict[str, object], OptionGroups(STRATEGY_OPTIONS)] = Field(
        default_factory=dict, description="Settings of strategies, by name; those of installed ones too."
    )

    @property
    def open_responses(self) -> int:
        """Responses to an open-ended question that are worth sampling: as many as are cut, compared, or vote."""
        wanted = [self.dropout_pairs, 0]
        for strategy, default in (("feedback", FEEDBACK_ANSWERS), ("vote", VOTE_ANSWERS)):
            if strategy in self.strategies:
                options = self.options.get(strategy, {})
                wanted.append(int(options.get("answers", default)) if isinstance(options, dict) else default)
        return max(wanted)

    @model_validator(mode="before")
    @classmethod
    def _strategies_by_other_names(cls, data: Any) -> Any:
        """`options.blind` is the blind filter before all other strategies; `dropout_ntp: false` those without it.

        Settings of mmpr 0.1 have the latter.
        """
        if not isinstance(data, dict):
            return data
        if isinstance(data.get("options"), dict) and "blind" in data["options"]:
            names = list(data.get("strategies", SAMPLED))
            data = data if "blind" in names else data | {"strategies": ["blind", *names]}
        if "dropout_ntp" in data:
            wanted = data.get("strategies", SAMPLED)
            off = {} if data["dropout_ntp"] else {"strategies": [n for n in wanted if n != "dropout_ntp"]}
            data = {name: value for name, value in data.items() if name != "dropout_ntp"} | off
        return data

    @field_validator("options")
    @classmethod
    def _options_are_right(cls, options: dict[str, object]) -> dict[str, object]:
        """A wrong option stops before any work; those of installed strategies are theirs to check."""
        for name, group in STRATEGY_OPTIONS.items():
            try:
                group.model_validate(options.get(name, {}))
            except ValidationError as error:
                wrong = [f"{'.'.join([name, *map(str, each['loc'])])}: {each['msg']}" for each in error.errors()]
                raise ValueError("; ".join(wrong)) from None
        return options

    @field_validator("strategies")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"named twice: {', '.join(repeated)}")
        if "preset" in names and len(names) > 1:
            raise ValueError("preset pairs are not sampled, so preset cannot be mixed with other strategies")
        return names
