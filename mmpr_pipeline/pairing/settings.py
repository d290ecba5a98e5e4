"""Settings of pairing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from mmpr_pipeline.core.settings import PAIRS, OptionGroups, Settings, flag
from mmpr_pipeline.pairing.options import FEEDBACK_ANSWERS, STRATEGY_OPTIONS, VOTE_ANSWERS

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
    def _switch_of_version_1(cls, data: Any) -> Any:
        """`dropout_ntp: false`, as settings of mmpr 0.1 have it, is the strategies without it."""
        if not isinstance(data, dict) or "dropout_ntp" not in data:
            return data
        rest = {name: value for name, value in data.items() if name != "dropout_ntp"}
        wanted = rest.get("strategies", SAMPLED)
        return rest | ({} if data["dropout_ntp"] else {"strategies": [n for n in wanted if n != "dropout_ntp"]})

    @model_validator(mode="before")
    @classmethod
    def _settings_of_the_filter_turn_it_on(cls, data: Any) -> Any:
        """`options.blind` is the blind filter before all other strategies."""
        if not isinstance(data, dict) or not isinstance(data.get("options"), dict) or "blind" not in data["options"]:
            return data
        names = list(data.get("strategies", SAMPLED))
        return data if "blind" in names else data | {"strategies": ["blind", *names]}

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
