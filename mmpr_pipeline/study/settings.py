"""Settings of a study: how much data, which ways of training and building are compared, how it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmpr_pipeline.core.settings import RUN, Settings, flag, load_settings
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.rollouts.prompts import Style
from mmpr_pipeline.rollouts.sampling import Decoding, SamplingSettings
from mmpr_pipeline.sources.generated.scenes import NANO_SOURCES
from mmpr_pipeline.training.objective.loss import RECIPES

PAPER_LOSSES = ("sft", "dpo", "bco", "dpo+sft", "bco+sft", "mpo")
"""The rows of the paper's ablation (its table of M3CoT), in its order."""


class QuestionSettings(Settings):
    """Which generated questions. What a picture shows decides its split, so the splits share no scene."""

    split: str = Field(description="Split of the nano worlds: practice, validation or heldout.")
    each: int = Field(ge=1, description="Questions of each source.")
    seed: int = Field(ge=0, description="Seed of the generator.")
    answers: bool = Field(default=True, description="Whether the answers stand beside the questions.")


class TrainSettings(Settings):
    """How every model of the study is trained; the loss is what is compared."""

    lr: float = Field(default=1e-4, gt=0, description="Highest learning rate.")
    epochs: int = Field(default=1, ge=1, description="Passes over the pairs.")
    batch: int = Field(default=64, ge=1, description="Pairs of an optimizer step.")
    beta: float = Field(default=0.1, gt=0, description="Scale of rewards.")
    weight_decay: float = Field(default=0.05, ge=0, description="Decoupled weight decay, of matrices only.")
    token_budget: int = Field(default=8192, ge=16, description="Most tokens of a micro-batch.")
    recompute: Literal["none", "matmuls", "full"] = Field(default="none", description="Gradient checkpointing.")


class MeasureSettings(Settings):
    """What every model is asked. Greedy accuracy is one response; sampled ones tell how a response is in the mean."""

    questions: QuestionSettings = QuestionSettings(split="heldout", each=1000, seed=9000)
    samples: int = Field(default=4, ge=1, description="Responses to a question at T=1, chain of thought.")
    describe_samples: int = Field(default=4, ge=1, description="Descriptions of a picture, at T=1.")
    max_tokens: int = Field(default=256, ge=1, description="Longest response, in tokens.")
    resamples: int = Field(default=10_000, ge=100, description="Bootstrap resamples of the questions.")


class FeedbackComparison(Settings):
    """Feedback against DropNTP on the same chosen responses, both on descriptions, trained with MPO."""

    labels: Literal["world", "model"] = Field(
        default="world",
        description="Who says whether a claim is true: the world behind a generated picture, which never errs, or the"
        " base model, as the strategy `feedback` asks it. `python -m mmpr_pipeline.study.claims` teaches"
        " that to the embedded one.",
    )
    verify: Literal["first_word", "reasoning"] = Field(
        default="reasoning", description="How the base model says whether a claim is true (`labels: model`)."
    )
    votes: int = Field(default=1, ge=1, le=16, description="Answers of the base model to each claim, if it reasons.")
    each: int = Field(default=800, ge=1, description="Pictures that are described, for each seed.")
    answers: int = Field(default=8, ge=2, le=16, description="Descriptions of a picture that feedback scores.")
    pairs: int = Field(default=2, ge=1, le=4, description="Pairs of a picture, at most.")
    training: TrainSettings = TrainSettings(batch=64, lr=3e-4)


class StudyConfig(Settings):
    """Everything a study does. Each part that is empty or off is left out of the table."""

    out: str = Field(
        default="out/study",
        description="Directory of the study.",
        json_schema_extra=flag("--out", RUN, operational=True),
    )
    engine: EngineSettings = Field(default=EngineSettings(), description="The engine; its model is the base model.")
    sources: tuple[str, ...] = Field(default=NANO_SOURCES, min_length=1, description="Nano sources.")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="Each is a study of its own.")
    practice: QuestionSettings = Field(
        default=QuestionSettings(split="practice", each=1000, seed=100),
        description="Questions to build from, at size 1; seed s of the study takes generator seed `seed` + s.",
    )
    sampling: SamplingSettings = SamplingSettings(samples=16, decoding=Decoding(max_tokens=256))
    pairing: PairingSettings = PairingSettings()
    training: TrainSettings = TrainSettings()
    feedback: FeedbackComparison | None = Field(
        default=None, description="Compare feedback with DropNTP on the same chosen responses; not if not set."
    )
    losses: tuple[str, ...] = Field(default=PAPER_LOSSES, description="Losses compared on the same pairs.")
    size: int = Field(default=3, ge=1, description="Size at which losses are compared, in multiples of `practice`.")
    sizes: tuple[int, ...] = Field(default=(1, 3, 10), description="Sizes at which MPO is trained.")
    dropout_ratios: tuple[float, ...] = Field(default=(0.25, 0.5, 0.75), description="DropNTP ratios, at size 1.")
    dropout_off: bool = Field(default=True, description="MPO without DropNTP pairs, at size 1.")
    flat: bool = Field(default=True, description="Flat against adaptive sampling, at size 1.")
    signals: dict[str, PairingSettings] = Field(
        default_factory=dict, description="Other settings of pairing under which MPO is trained at size 1, by a name."
    )
    signal_style: Style = Field(default="cot-final", description="Prompt style of the builds of `signals`.")
    unlabelled: tuple[str, ...] = Field(
        default=(), description="Those of `signals` whose practice questions have no answers."
    )
    rounds: int = Field(default=2, ge=1, description="Rounds of build and MPO, each on new questions.")
    measure: MeasureSettings = MeasureSettings()
    shards: int = Field(default=4, ge=1, description="Shards of each build.")
    threads: int = Field(
        default=1, ge=1, description="Processor threads of each step. Other sums are rounded with another number."
    )
    jobs: int | None = Field(
        default=None,
        ge=1,
        description="Steps done at once; if not given, what cores and memory have room for.",
        json_schema_extra=flag("--jobs", RUN, default="what cores and memory have room for", operational=True),
    )

    @model_validator(mode="after")
    def _possible(self) -> StudyConfig:
        unknown = [name for name in self.sources if name not in NANO_SOURCES]
        if unknown:
            raise ValueError(f"no nano source: {', '.join(unknown)}; the study needs worlds that it can generate")
        if missing := [name for name in self.losses if name not in RECIPES]:
            raise ValueError(f"unknown loss: {', '.join(missing)}")
        if unknown_signals := sorted(set(self.unlabelled) - self.signals.keys()):
            raise ValueError(f"unlabelled: no signal {', '.join(unknown_signals)}")
        if self.measure.questions.split == self.practice.split:
            raise ValueError("measured on the split that is learned from")
        return self


def load_study_config(path: str | Path | None, overrides: Mapping[str, object]) -> StudyConfig:
    """Settings of a YAML file (if any) with flags on top. Raises ConfigError naming each setting that is wrong."""
    return load_settings(StudyConfig, path, overrides, "mmpr study")
