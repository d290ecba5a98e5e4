"""Model families by the `model_type` of the config.

Most models need no file here: `Family` itself is right for them. Packages bring subclasses of their own through the
entry-point group `mmpr.families`: the entry's name is the config's `model_type`, its value a class that is called
without arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.training.policy.families.family import Family

CHECKED = frozenset(
    {
        "gemma3", "glm4v", "glm4v_moe", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "mistral3",
        "paligemma", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "smolvlm",
    }
)  # fmt: skip
"""Types for which the tests hold prefix sharing equal to separate forwards. Others are compared before training."""


FAMILIES: Registry[Callable[[], Family]] = Registry(
    "mmpr.families",
    "model family",
    {"gemma3": f"{__name__}.gemma3:Gemma3", "paligemma": f"{__name__}.paligemma:PaliGemma"},
)


def family_of(model: Any) -> Family:
    """The family of a model by its config's `model_type`; the generic one where the registry has none of that name.

    Raises ConfigError for an original InternVL checkpoint.
    """
    kind = str(getattr(model.config, "model_type", None))
    if kind == "internvl_chat":
        raise ConfigError(
            "This is an original InternVL checkpoint, which needs remote code.",
            remedy="Convert it to the transformers-native format first: mmpr convert.",
        )
    return FAMILIES.get(kind)() if kind in FAMILIES.names() else Family()
