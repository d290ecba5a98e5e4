"""Which model is trained: as named, else the one that made the pairs."""

from __future__ import annotations

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.files.sealed import read_config
from mmpr_pipeline.dataset.review.rehearsal import refuse_rehearsal
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.storage import MissingKeyError, open_store
from mmpr_pipeline.training.settings import TrainConfig


def with_policy(config: TrainConfig) -> TrainConfig:
    """The settings with a model. Raises ConfigError where a real one would learn from a rehearsal."""
    store = open_store(config.data)
    if "model" not in config.model_fields_set:
        try:
            engine = group_of(read_config(store).get("config", {}), "engine")
        except (MissingKeyError, DatasetError):
            engine = {}
        sampler = engine.get("model") if engine.get("name") == "vllm" else None  # what can be loaded here
        config = config.model_copy(update={"model": str(sampler or NANO)})
    if config.model != NANO:
        refuse_rehearsal(store, "train on it", allowed=config.allow_rehearsal)
    return config
