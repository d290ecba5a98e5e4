"""Settings of screening, and each source's share of the mixture."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmpr_pipeline.core.settings import SCREENING, Settings, flag


class ScreeningSettings(Settings):
    """What is left out before sampling: repeated questions, and those that an evaluation set has too."""

    dedup: bool = Field(
        default=True,
        description="Drop questions that an earlier row of any source has too, images included; off: only within a "
        "shard.",
        json_schema_extra=flag("--dedup/--no-dedup", SCREENING),
    )
    near_duplicates: bool = Field(
        default=False,
        description="Drop questions that are nearly an earlier row of any source: an alike image and question, the "
        "same answer.",
        json_schema_extra=flag("--near-duplicates", SCREENING),
    )
    near_image_bits: int = Field(
        default=16, ge=0, le=64, description="Most bits of 256 in which the images of near-duplicates differ."
    )
    near_question: float = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="Least likeness of the questions of near-duplicates: Jaccard index of word triples, estimated.",
    )
    decontaminate: Literal["ask", "all", "cached", "none"] = Field(
        default="ask",
        description="Drop training questions that also appear (exactly or nearly) in a benchmark: in any of the "
        "catalog, in those that are on this machine (cached), or keep them (none). `ask` says what all would fetch, "
        "and asks on a terminal; elsewhere it means all. Named benchmarks are compared with, unless this is none.",
        json_schema_extra=flag("--decontaminate", SCREENING),
    )
    against: tuple[str, ...] | None = Field(
        default=None,
        description="Benchmarks to compare with: names, groups, declarations, by commas.",
        json_schema_extra=flag(
            "--decontaminate-against",
            SCREENING,
            default="all benchmarks of the catalog that can be fetched or are cached",
        ),
    )
    image_bits: int = Field(
        default=16, ge=0, le=256, description="Most bits of 256 in which two images differ that are one image."
    )
    similar_image_bits: int = Field(
        default=40, ge=0, le=256, description="The same, where the questions are alike too (40 of 256 is 10 of 64)."
    )
    similar_question: float = Field(
        default=0.5, ge=0.5, le=1, description="Least likeness of questions for that: Jaccard index of word triples."
    )
    same_question: float = Field(
        default=0.8, ge=0.5, le=1, description="Least likeness at which the question alone decides, if it is long."
    )
    long_question: int = Field(
        default=13, ge=1, description="Least words of a question that can decide alone (GPT-3: 13-grams)."
    )
    template: int = Field(
        default=10,
        ge=1,
        description="Questions that may be like one evaluation question, without an image like its own; of more, its "
        "wording is a template and says nothing.",
    )


class Share(Settings):
    """How much of a source goes into the mixture."""

    weight: float = Field(default=1.0, gt=0, le=1, description="Part of its questions that is taken.")
    cap: int | None = Field(default=None, ge=1, description="Most questions taken; no limit if not given.")
    repeat: int = Field(default=1, ge=1, le=100, description="Times that each is asked, with other sampling seeds.")
