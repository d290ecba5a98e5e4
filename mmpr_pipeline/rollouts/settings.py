"""Settings of sampling: how many rollouts, how they are decoded."""

from __future__ import annotations

from pydantic import Field

from mmpr_pipeline.core.records import Record
from mmpr_pipeline.core.settings import SAMPLING, Settings, flag
from mmpr_pipeline.rollouts.prompts import PromptLanguage, Style


class Decoding(Record):
    """How to sample; the paper: temperature 1.0, no truncation of the distribution."""

    temperature: float = Field(
        default=1.0,
        ge=0,
        description="Softmax temperature; 0 takes the likeliest token.",
        json_schema_extra=flag("--temperature", SAMPLING),
    )
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus mass; 1 keeps the whole distribution.")
    max_tokens: int = Field(
        default=2048,
        ge=1,
        description="Maximum length of a response.",
        json_schema_extra=flag("--max-tokens", SAMPLING, unit="tokens"),
    )


class SamplingSettings(Settings):
    """How many rollouts, and how."""

    samples: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Maximum rollouts per question (paper: 32).",
        json_schema_extra=flag("--samples", SAMPLING, unit="rollouts"),
    )
    adaptive: bool = Field(
        default=True,
        description="Sample in rounds, and stop once another round is unlikely to pay.",
        json_schema_extra=flag("--adaptive/--no-adaptive", SAMPLING),
    )
    round_size: int = Field(default=2, ge=1, description="Fewest rollouts of a round after the first.")
    round_price: float = Field(
        default=0.1, ge=0, description="What a round costs, as `price`: the dearer, the larger and fewer they are."
    )
    price: float = Field(
        default=0.5,
        gt=0,
        description="What a rollout costs, as a share of max_pairs / samples: rounds go on while pairs pay it.",
    )
    style: Style = Field(
        default="cot-final",
        description="Prompt style: cot-final, cot-boxed, cot-think or direct; see docs/prompts.md.",
        json_schema_extra=flag("--style", SAMPLING),
    )
    prompt_language: PromptLanguage = Field(
        default="auto",
        description="Language of the instruction: en, zh, or auto, that of each question.",
        json_schema_extra=flag("--prompt-language", SAMPLING),
    )
    decoding: Decoding = Field(default=Decoding(), description="Temperature, nucleus mass, longest response.")
