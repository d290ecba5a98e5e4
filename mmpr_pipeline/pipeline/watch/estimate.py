"""What a build would cost, before it is started: the table of `mmpr build --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.engines.start import actor_count
from mmpr_pipeline.engines.vllm.memory import plan_lines
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan
from mmpr_pipeline.screening.mixture import taken
from mmpr_pipeline.screening.report import ComparedSets, unchecked
from mmpr_pipeline.screening.settings import Share

RESPONSE_TOKENS = 325
"""Mean of the paper's chosen (300) and rejected (350.5) responses."""

PROMPT_TOKENS = 1_900
"""Tokens of a prompt with one image of seven tiles."""

NANO_RESPONSE_TOKENS = 50
NANO_TOKENS_PER_SECOND = 2_500
"""The embedded model, measured on two CPU cores."""

TOKENS_PER_SECOND = 5_000
"""Assumed for one engine: an 8B model in bf16 on one current data-centre GPU with many sequences in flight. Measure
yours and give `--tokens-per-second`."""


@dataclass(frozen=True)
class BuildEstimate:
    """Upper bounds: every question sampled to the full, nothing taken from a journal."""

    questions: int
    rollouts: int
    generated_tokens: int
    engines: int
    tokens_per_second: float
    response_tokens: float = RESPONSE_TOKENS

    @property
    def hours(self) -> float:
        """Wall time of generation with all engines busy."""
        return self.generated_tokens / (self.engines * self.tokens_per_second) / 3600


def estimate_build(
    plan: BuildPlan, tokens_per_second: float | None = None, response_tokens: float | None = None
) -> BuildEstimate:
    """Upper bounds for a plan; `tokens_per_second` is one engine's rate, `response_tokens` the mean response."""
    config = plan.config
    nano = config.engine.model == NANO
    rollouts = plan.rows * config.sampling.samples
    usual = response_tokens or (NANO_RESPONSE_TOKENS if nano else RESPONSE_TOKENS)
    response = min(usual, config.sampling.decoding.max_tokens)
    tokens = 0 if config.preset or config.engine.name == "replay" else round(rollouts * response)
    rate = tokens_per_second or (NANO_TOKENS_PER_SECOND if nano else TOKENS_PER_SECOND)
    return BuildEstimate(plan.rows, rollouts, tokens, max(1, actor_count(config.engine)), rate, response)


def estimate_table(plan: BuildPlan, bounds: BuildEstimate) -> RenderableType:
    """The plan as a person reads it."""
    num_shards = plan.config.shards
    table = Table(title=f"Plan for {plan.config.out}", title_justify="left")
    for title in ("source", "rows", "share", "questions", "a shard", "rollouts, at most"):
        table.add_column(title, justify="left" if title in ("source", "share") else "right")
    for source in plan.sources:
        share, asked = source.share, taken(source.index.rows, source.share)
        each = [f"{count * share.repeat:,}" for count in sorted({asked // num_shards, -(-asked // num_shards)})]
        rollouts = f"{source.questions * plan.config.sampling.samples:,}"
        told = f"{source.questions:,}"
        table.add_row(source.name, f"{source.index.rows:,}", _share(share), told, " or ".join(each), rollouts)
    engine = plan.config.engine
    lines = [*_screening(plan)]
    lines += [
        f"{bounds.questions:,} questions, {num_shards} shards, up to {bounds.rollouts:,} rollouts "
        f"and {bounds.generated_tokens:,} generated tokens.",
    ]
    if engine.name == "vllm":
        lines.append(
            f"About {bounds.hours:,.1f} h at most with {bounds.engines} engine(s) of {engine.tensor_parallel} GPU(s) "
            f"each, at {bounds.tokens_per_second:,.0f} tokens/s an engine (assumed: measure, and give "
            "--tokens-per-second)."
        )
        if engine.model != NANO:
            lines += plan_lines(engine, bounds.response_tokens, PROMPT_TOKENS)
    lines.append("Nothing was generated or written.")
    return Group(table, Text("\n".join(lines)))


def _share(share: Share) -> str:
    parts = [f"{share.weight:g} of it"] if share.weight != 1 else []
    parts += [f"at most {share.cap:,}"] if share.cap is not None else []
    parts += [f"{share.repeat} times each"] if share.repeat != 1 else []
    return ", ".join(parts) or "all"


def _screening(plan: BuildPlan) -> list[str]:
    """What screening will do; what it will find is known only when the rows are read."""
    report: ComparedSets = {"against": dict(plan.against.content), "unchecked": dict(plan.against.unchecked)}
    lines = [f"Questions are compared with {', '.join(plan.against.content)} before sampling."] if plan.against else []
    if warning := unchecked(report):
        lines.append(f"Warning: {warning}")
    if plan.screens:
        lines.append("Repeated and contaminated questions will be dropped first: the counts are upper bounds.")
    return lines
