"""Settings of pairing."""

from __future__ import annotations

from pydantic import Field

from mmpr_pipeline.core.settings import Settings


class PairingSettings(Settings):
    """How rollouts become pairs."""

    max_pairs: int = Field(default=15, ge=1, description="Most correctness pairs a question (the paper: 15).")
    dropout_ntp: bool = Field(default=True, description="Make DropNTP pairs where there is no rejected response.")
    dropout_ratio: float = Field(default=0.5, gt=0, lt=1, description="Share of a response's tokens kept (paper: 0.5).")
    dropout_pairs: int = Field(default=2, ge=1, description="Most DropNTP pairs for each question.")
