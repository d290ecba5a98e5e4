"""Settings of pairing."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from mmpr_pipeline.core.settings import PAIRS, Settings, flag

SAMPLED = ("correctness", "dropout_ntp")
"""The paper's strategies, for sampled responses."""


FEEDBACK_ANSWERS = 8
"""Answers of a question that the strategy `feedback` scores, at most."""


class PairingSettings(Settings):
    """How rollouts become pairs."""

    strategies: tuple[str, ...] = Field(
        default=SAMPLED,
        min_length=1,
        description="Strategies, asked in this order until one makes a pair: correctness, dropout_ntp, feedback, "
        "preset (pairs that the sources bring), dropout_preset (DropNTP on their chosen responses), or the name of an "
        "installed one.",
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
    options: dict[str, Any] = Field(default_factory=dict, description="Settings of installed strategies, by name.")

    @property
    def open_responses(self) -> int:
        """Responses to an open-ended question that are worth sampling: as many as are cut, or as are compared."""
        told = self.options.get("feedback", {})
        answers = told.get("answers", FEEDBACK_ANSWERS) if isinstance(told, dict) else FEEDBACK_ANSWERS
        return max(self.dropout_pairs, int(answers) if "feedback" in self.strategies else 0)

    @model_validator(mode="before")
    @classmethod
    def _switch_of_version_1(cls, data: Any) -> Any:
        """`dropout_ntp: false`, as settings of mmpr 0.1 have it, is the strategies without it."""
        if not isinstance(data, dict) or "dropout_ntp" not in data:
            return data
        rest = {name: value for name, value in data.items() if name != "dropout_ntp"}
        wanted = rest.get("strategies", SAMPLED)
        return rest | ({} if data["dropout_ntp"] else {"strategies": [n for n in wanted if n != "dropout_ntp"]})

    @field_validator("strategies")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"named twice: {', '.join(repeated)}")
        if "preset" in names and len(names) > 1:
            raise ValueError("preset pairs are not sampled, so preset cannot be mixed with other strategies")
        return names
