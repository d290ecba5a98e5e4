"""Model families: the little that prefix sharing must know of a vision-language model of transformers.

Where its language model, its output layer and its vision parts are, how images enter the embeddings, and how positions
count. One file a family; a new one is added to `FAMILIES`.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch


class Family(Protocol):
    """What a family file provides; `model` is always the bare transformers model, adapters of peft inside it."""

    def language_model(self, model: Any) -> Any:
        """The stack of decoder layers, final norm included, without the output layer."""

    def vision(self, model: Any) -> nn.Module:
        """The vision tower."""

    def projector(self, model: Any) -> nn.Module:
        """What maps vision features to the language model's width."""

    def image_features(self, model: Any, images: ImageInputs) -> Tensor:
        """Features of all images in order, (image tokens, D)."""

    def blank_image(self, model: Any) -> dict[str, Tensor]:
        """Inputs of the smallest possible image: what a rank without images feeds its vision tower."""

    def image_tokens(self, model: Any, images: ImageInputs) -> int:
        """Image tokens that the prompts must hold for these images."""

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        """Position ids for the language model: (1, T), or (3, 1, T) where positions have three axes."""


def family_of(model: Any) -> Family:
    """The family of a model by its config's `model_type`. Raises ConfigError for one that is not known."""
    from mmpr_pipeline.training.policy.families.internvl import InternVL
    from mmpr_pipeline.training.policy.families.qwen2_5_vl import Qwen2_5_VL

    families: dict[str, type[Family]] = {"internvl": InternVL, "qwen2_5_vl": Qwen2_5_VL}
    kind = getattr(model.config, "model_type", None)
    if kind == "internvl_chat":
        raise ConfigError(
            "This is an original InternVL checkpoint, which needs remote code.",
            remedy="Convert it to the transformers-native format first: mmpr convert.",
        )
    if kind not in families:
        raise ConfigError(
            f"Models of type {kind!r} cannot be trained yet.",
            remedy=f"Use one of: {', '.join(families)}; a new family is one file in mmpr_pipeline/training/families.",
        )
    return families[kind]()
