"""Settings of the second opinion."""

from __future__ import annotations

from pydantic import Field

from mmpr_pipeline.checking.second.prompts import Style
from mmpr_pipeline.core.settings import OPERATIONAL, Settings


class SecondOpinion(Settings):
    """A verifier that is asked about verdicts of the kinds text, math and number that are not `correct`."""

    model: str | None = Field(
        default=None, description="Model of the server at `base_url`; without one the build's own engine is asked."
    )
    base_url: str | None = Field(
        default=None,
        description="OpenAI-compatible server of the verifier, as http://host:8000/v1.",
        json_schema_extra=OPERATIONAL,
    )
    style: Style = Field(default="general", description="Prompt: general, compass (CompassVerifier) or xverify.")
    votes: int = Field(default=1, ge=1, le=64, description="Answers of the verifier for each question asked.")
    agreement: float = Field(
        default=0.8, gt=0.5, le=1, description="Share of all votes that turns `unparseable` into a verdict."
    )
    max_tokens: int = Field(default=64, ge=1, description="Longest answer of the verifier, in tokens.")


class CheckingSettings(Settings):
    """How responses are checked."""

    second: SecondOpinion | None = Field(default=None, description="Ask a verifier model as well; off by default.")
