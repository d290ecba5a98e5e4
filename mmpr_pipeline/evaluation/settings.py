"""Settings of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmpr_pipeline.core.settings import MEASURED, MODEL, RUN, SAMPLING, Settings, flag, load_settings
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.rollouts.prompts import PromptLanguage, Style


class JudgeSettings(Settings):
    """Which model judges. Its key, for a server, is $OPENAI_API_KEY."""

    engine: EngineSettings = Field(description="The judge: engine openai with its server, or any other engine.")
    prompts: str | None = Field(default=None, description="Folder with judge prompts in place of ours, NAME.txt.")
    attempts: int = Field(default=3, ge=1, le=10, description="Times that an unreadable verdict is asked for.")
    both_orders: bool = Field(default=True, description="Ask pairwise judges in both orders of the answers.")
    in_flight: int = Field(default=16, ge=1, description="Judgements asked for at once.")
    price_in: float | None = Field(default=None, ge=0, description="Price of a million tokens that the judge reads.")
    price_out: float | None = Field(default=None, ge=0, description="Price of a million tokens that it writes.")


class EvalConfig(Settings):
    """What is asked of which model. The engine runs in this process (`engine.actors` 0) unless said otherwise."""

    sources: tuple[str, ...] = Field(
        default=(),
        description="Catalog names or paths of source declarations.",
        json_schema_extra=flag("--sources", MEASURED),
    )
    benchmarks: tuple[str, ...] = Field(
        default=(),
        description="Names or groups of benchmarks, or YAML files, each scored by its own metric.",
        json_schema_extra=flag("--benchmarks", MEASURED),
    )
    mode: Literal["cot", "direct"] = Field(default="cot", description="Chain of thought, or the answer only.")
    modes: tuple[Literal["cot", "direct"], ...] = Field(
        default=(), description="For benchmarks: the modes to compare side by side; that of `mode` if none is named."
    )
    style: Style = Field(
        default="cot-final",
        description="Prompt style of chain of thought, as the model learned it.",
        json_schema_extra=flag("--style", SAMPLING),
    )
    prompt_language: PromptLanguage = Field(
        default="auto",
        description="Language of the instruction: en, zh, or auto, that of each question.",
        json_schema_extra=flag("--prompt-language", SAMPLING),
    )
    engine: EngineSettings = Field(default=EngineSettings(actors=0), description="The engine and its model.")
    against: str | None = Field(
        default=None,
        description="A second model, asked the same and compared pairwise.",
        json_schema_extra=flag("--against", MODEL),
    )
    judge: JudgeSettings | None = Field(default=None, description="The model that judges answers in prose.")
    data_root: str | None = Field(
        default=None,
        description="Where relative paths in declarations start.",
        json_schema_extra=flag("--data-root", MEASURED),
    )
    benchmark_data: str | None = Field(
        default=None,
        description="Folder of further files that benchmarks need.",
        json_schema_extra=flag("--benchmark-data", MEASURED),
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Most rows of each source.",
        json_schema_extra=flag("--limit", MEASURED, unit="rows", default="all"),
    )
    skip: int = Field(
        default=0,
        ge=0,
        description="Rows of each source left out before: those trained on, say.",
        json_schema_extra=flag("--skip", MEASURED, unit="rows"),
    )
    trained_on: Literal["leave_out", "refuse", "keep"] = Field(
        default="leave_out",
        description="Rows that a model's export says it was trained on: left out for both models, refused, or kept.",
        json_schema_extra=flag("--trained-on", MEASURED),
    )
    samples: int = Field(
        default=1,
        ge=1,
        description="Responses to each question; accuracy is their mean.",
        json_schema_extra=flag("--samples", SAMPLING, unit="responses"),
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        description="Softmax temperature; 0 takes the likeliest token.",
        json_schema_extra=flag("--temperature", SAMPLING),
    )
    max_tokens: int = Field(
        default=1024,
        ge=1,
        description="Longest response, in tokens.",
        json_schema_extra=flag("--max-tokens", SAMPLING, unit="tokens"),
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Seed of sampling and of the bootstrap.",
        json_schema_extra=flag("--seed", SAMPLING),
    )
    in_flight: int = Field(default=128, ge=1, description="Questions asked at once.")
    resamples: int = Field(default=10_000, ge=100, description="Bootstrap resamples of the questions.")
    address: str = Field(default="local", description="Ray, for engines in actors: local, auto, or ray://host:port.")
    out: str | None = Field(
        default=None, description="Directory for results.json and the responses.", json_schema_extra=flag("--out", RUN)
    )

    @model_validator(mode="after")
    def _asks_something(self) -> EvalConfig:
        if not self.sources and not self.benchmarks:
            raise ValueError("nothing to ask: give --benchmarks (a group is `paper`) or --sources")
        if self.sources and self.benchmarks:
            raise ValueError("give --benchmarks or --sources; a source can be named among the benchmarks")
        return self

    @property
    def asked_in(self) -> Style:
        """The prompt style of the mode."""
        return "direct" if self.mode == "direct" else self.style


def load_eval_config(path: str | Path | None, overrides: Mapping[str, object]) -> EvalConfig:
    """Settings of a YAML file (if any) with flags on top. Raises ConfigError naming each setting that is wrong."""
    if overrides.get("engine.actors") is None:
        overrides = {**overrides, "engine.actors": 0}
    return load_settings(EvalConfig, path, overrides, "mmpr eval")
