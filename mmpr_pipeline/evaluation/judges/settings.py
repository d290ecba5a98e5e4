"""Settings of a judge."""

from __future__ import annotations

from pydantic import Field

from mmpr_pipeline.core.settings import Settings
from mmpr_pipeline.engines.settings import EngineSettings


class JudgeSettings(Settings):
    """Which model judges. Its key, for a server, is $OPENAI_API_KEY."""

    engine: EngineSettings = Field(description="The judge: engine openai with its server, or any other engine.")
    prompts: str | None = Field(default=None, description="Folder with judge prompts in place of ours, NAME.txt.")
    attempts: int = Field(default=3, ge=1, le=10, description="Times that an unreadable verdict is asked for.")
    both_orders: bool = Field(default=True, description="Ask pairwise judges in both orders of the answers.")
    in_flight: int = Field(default=16, ge=1, description="Judgements asked for at once.")
    price_in: float | None = Field(default=None, ge=0, description="Price of a million tokens that the judge reads.")
    price_out: float | None = Field(default=None, ge=0, description="Price of a million tokens that it writes.")
