"""Model families: what the trainer must know of a vision-language model of transformers.

One generic family reads it from transformers' own methods and names, so most models need no file here; a model that
differs has a subclass. Packages bring their own through the entry-point group `mmpr.families`: the entry's name is the
config's `model_type`, its value a class that is called without arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch

CHECKED = frozenset(
    {
        "gemma3", "glm4v", "glm4v_moe", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "mistral3",
        "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "smolvlm",
    }
)  # fmt: skip
"""Types for which the tests hold prefix sharing equal to separate forwards. Others are compared before training."""


class Family(Protocol):
    """What a family provides; `model` is always the bare transformers model, adapters of peft inside it."""

    def language_model(self, model: Any) -> Any:
        """The stack of decoder layers, final norm included, without the output layer."""

    def vision(self, model: Any) -> nn.Module:
        """The vision tower; an empty module where none is recognised."""

    def projector(self, model: Any) -> nn.Module:
        """What maps vision features to the language model's width, inside the vision tower or outside of it."""

    def image_token(self, model: Any) -> int:
        """The token whose places in a prompt the images take."""

    def image_tokens(self, model: Any, images: ImageInputs) -> int | None:
        """Image tokens that the prompts must hold for these images; None where the inputs do not say."""

    def tokens_per_tile(self, model: Any) -> int | None:
        """Tokens that one tile of fixed size becomes in the prompt; None where the config does not say."""

    def blank_image(self, model: Any) -> dict[str, Tensor]:
        """Inputs of the smallest possible image: what a rank without images feeds its vision tower."""

    def blank_features(self, model: Any) -> Tensor:
        """A scalar that depends on every part that encodes an image, from a blank one."""

    def positions(self, model: Any, batch: PackedBatch) -> Tensor:
        """Position ids for the language model: (1, T), or (3, 1, T) where positions have three axes."""

    def text_inputs(self, model: Any, input_ids: Tensor) -> dict[str, Tensor]:
        """Inputs besides `input_ids` (B, T) that the model's own forward asks for, of the same shape."""

    def hidden_states(self, model: Any, batch: PackedBatch, positions: Tensor, **attention: Any) -> Tensor:
        """(T, D) after the final norm, images in place; `attention` goes to every layer's attention function."""

    def not_shareable(self, model: Any) -> list[str]:
        """What of the model prefix sharing does not compute; empty where it computes everything."""


FAMILIES: Registry[Callable[[], Family]] = Registry(
    "mmpr.families", "model family", {"gemma3": f"{__name__}.gemma3:Gemma3"}
)


def family_of(model: Any) -> Family:
    """The family of a model by its config's `model_type`; the generic one where the registry has none of that name.

    Raises ConfigError for an original InternVL checkpoint.
    """
    from mmpr_pipeline.training.policy.families.generic import Generic

    kind = str(getattr(model.config, "model_type", None))
    if kind == "internvl_chat":
        raise ConfigError(
            "This is an original InternVL checkpoint, which needs remote code.",
            remedy="Convert it to the transformers-native format first: mmpr convert.",
        )
    return FAMILIES.get(kind)() if kind in FAMILIES.names() else Generic()
