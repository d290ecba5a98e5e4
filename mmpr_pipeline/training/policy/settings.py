"""Settings of the policy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmpr_pipeline.core.settings import MODEL, Settings, flag

Part = Literal["vision", "projector", "language"]


class LoraSettings(Settings):
    """Low-rank adapters by peft; the rest of the model is frozen."""

    rank: int = Field(
        ge=1,
        description="Train low-rank adapters of this rank only.",
        json_schema_extra=flag("--lora-rank", MODEL, default="no adapters"),
    )
    quantise: Literal["nf4"] | None = Field(
        default=None,
        description="nf4: the frozen weights below the adapters in four bits (QLoRA), whole on every rank; an export"
        " adds the adapters to the weights as they were.",
    )
    alpha: float = Field(default=32.0, gt=0, description="Scale: adapters count alpha / rank.")
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Names of the linear layers of the language model that get adapters.",
    )
