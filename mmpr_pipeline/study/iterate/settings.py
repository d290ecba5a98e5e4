"""Settings of an iteration: a build, a training and an evaluation, each as its own command has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from mmpr_pipeline.core.settings import OPERATIONAL, Settings, load_settings
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.sources.declaration.catalog import declarations_in
from mmpr_pipeline.storage import absolute_model, absolute_url
from mmpr_pipeline.training.settings import TrainConfig


class IterateConfig(Settings):
    """Rounds of build, train and evaluate; each round samples from the model of the round before."""

    out: str = Field(description="Directory of all rounds.", json_schema_extra=OPERATIONAL)
    model: str = Field(default="nano", description="The model to begin with: Hub id or directory.")
    rounds: int = Field(default=3, ge=1, le=100, description="Most rounds.")
    least_gain: float = Field(
        default=0.0, ge=0, lt=1, description="Held-out accuracy must rise by more than this for another round."
    )
    held_out: int = Field(
        default=200,
        ge=1,
        description="Questions of the build's sources that are held out, where `evaluate` names no sources; whatever "
        "shows their images is left out of the builds.",
    )
    build: dict[str, object] = Field(description="Settings of `mmpr build`, but `out` and the model.")
    train: dict[str, object] = Field(default_factory=dict, description="Of `mmpr train`, but data, model and paths.")
    evaluate: dict[str, object] = Field(default_factory=dict, description="Of `mmpr eval`, but `out` and the model.")

    @model_validator(mode="before")
    @classmethod
    def _paths_are_absolute(cls, data: Any) -> Any:
        """Steps run elsewhere, and take `./` for the directory of all rounds."""
        if not isinstance(data, dict):
            return data
        placed = {**data, "model": absolute_model(data.get("model", "nano"))}
        for part in ("build", "evaluate"):
            settings = data.get(part)
            if isinstance(settings, dict) and isinstance(settings.get("sources"), list | tuple):
                sources = []
                for source in settings["sources"]:
                    yaml = isinstance(source, str) and source.endswith((".yaml", ".yml"))
                    declared = yaml or (isinstance(source, str) and declarations_in(source))
                    sources.append(absolute_url(source) if declared else source)
                placed[part] = {**settings, "sources": sources}
        return placed

    @model_validator(mode="after")
    def _each_part_works(self) -> IterateConfig:
        """What a later round would refuse is refused now."""
        self.build_settings("model", "out", 1, "held-out.yaml")
        self.train_settings("model", "data", "run", "export")
        self.eval_settings("model", "out", "held-out.yaml")
        return self

    @property
    def holds_out(self) -> bool:
        """Whether questions of the build's own sources are held out."""
        return not (self.evaluate.get("sources") or self.evaluate.get("benchmarks"))

    def build_settings(self, model: str, out: str, number: int, held_out: str) -> dict[str, object]:
        """The settings of a round's build: another seed each round, and no question on a held-out image."""
        own = self._free("build", "out")
        engine = {**_group(own, "engine"), "model": model}
        seed = own.get("seed", 0)
        if not isinstance(seed, int):
            raise ValueError("build: seed is not a whole number")
        settings = {**own, "out": out, "engine": engine, "seed": seed + number - 1}
        if self.holds_out:
            screening = _group(own, "screening")
            before = screening.get("against") or ()
            if not isinstance(before, list | tuple):
                raise ValueError("screening: against is not a list of sources")
            against = [*before, held_out]
            settings["screening"] = {**screening, "decontaminate": "all", "against": against}
        return BuildConfig.model_validate(settings).model_dump(mode="json")

    def train_settings(self, model: str, data: str, run_dir: str, export: str) -> dict[str, object]:
        """The settings of a round's training."""
        own = self._free("train", "data", "model", "run_dir", "export")
        settings = {**own, "data": data, "model": model, "run_dir": run_dir, "export": export}
        return TrainConfig.model_validate(settings).model_dump(mode="json", exclude_unset=True)

    def eval_settings(self, model: str, out: str, held_out: str) -> dict[str, object]:
        """The settings of an evaluation; its engine is the build's unless it has one of its own."""
        own = self._free("evaluate", "out", "against")
        engine = {**_group(self.build, "engine"), "actors": 0, **_group(own, "engine"), "model": model}
        settings = {**({"sources": [held_out]} if self.holds_out else {}), **own, "out": out, "engine": engine}
        return EvalConfig.model_validate(settings).model_dump(mode="json")

    def _free(self, part: str, *fixed: str) -> dict[str, object]:
        own = dict(getattr(self, part))
        if taken := sorted(own.keys() & set(fixed)):
            raise ValueError(f"{part}: {', '.join(taken)} is set by each round")
        return own


def _group(settings: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A group of settings; none where it is not named."""
    group = settings.get(name, {})
    if not isinstance(group, Mapping):
        raise ValueError(f"{name} is not a group of settings")
    return group


def load_iterate_config(path: str | Path | None, overrides: Mapping[str, object]) -> IterateConfig:
    """Settings of a YAML file (if any) with flags on top. Raises ConfigError naming each setting that is wrong."""
    return load_settings(IterateConfig, path, overrides, "mmpr iterate")
