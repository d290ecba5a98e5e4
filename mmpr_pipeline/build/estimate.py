"""What a build would cost, before it is started: the table of `mmpr build --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.build.plan import BuildPlan
from mmpr_pipeline.config import NANO
from mmpr_pipeline.sampling.make import actor_count

RESPONSE_TOKENS = 325
"""Mean of the paper's chosen (300) and rejected (350.5) responses."""

NANO_RESPONSE_TOKENS = 50
NANO_TOKENS_PER_SECOND = 2_500
"""The embedded model, measured on two CPU cores."""

TOKENS_PER_SECOND = 5_000
"""Assumed for one engine: an 8B model in bf16 on one current data-centre GPU with many sequences in flight. Measure
yours and give `--tokens-per-second`."""


@dataclass(frozen=True)
class Estimate:
    """Upper bounds: every question sampled to the full, nothing taken from a journal."""

    questions: int
    rollouts: int
    generated_tokens: int
    engines: int
    tokens_per_second: float

    @property
    def hours(self) -> float:
        """Wall time of generation with all engines busy."""
        return self.generated_tokens / (self.engines * self.tokens_per_second) / 3600


def estimate(plan: BuildPlan, tokens_per_second: float | None = None) -> Estimate:
    """Upper bounds for a plan; `tokens_per_second` is one engine's rate."""
    config = plan.config
    nano = config.engine.model == NANO
    rollouts = plan.rows * config.sampling.samples
    tokens = rollouts * min(NANO_RESPONSE_TOKENS if nano else RESPONSE_TOKENS, config.sampling.decoding.max_tokens)
    rate = tokens_per_second or (NANO_TOKENS_PER_SECOND if nano else TOKENS_PER_SECOND)
    return Estimate(plan.rows, rollouts, tokens, max(1, actor_count(config.engine)), rate)


def render(plan: BuildPlan, bounds: Estimate) -> RenderableType:
    """The plan as a person reads it."""
    of = plan.config.shards
    table = Table(title=f"Plan for {plan.config.out}", title_justify="left")
    for title in ("source", "questions", "a shard", "rollouts, at most"):
        table.add_column(title, justify="left" if title == "source" else "right")
    for source in plan.sources:
        rows = source.index.rows
        each = f"{rows // of:,}" if rows % of == 0 else f"{rows // of:,} or {rows // of + 1:,}"
        table.add_row(source.name, f"{rows:,}", each, f"{rows * plan.config.sampling.samples:,}")
    engine = plan.config.engine
    lines = [
        f"{bounds.questions:,} questions, {of} shards, up to {bounds.rollouts:,} rollouts "
        f"and {bounds.generated_tokens:,} generated tokens.",
    ]
    if engine.name == "vllm":
        lines.append(
            f"About {bounds.hours:,.1f} h at most with {bounds.engines} engine(s) of {engine.tensor_parallel} GPU(s) "
            f"each, at {bounds.tokens_per_second:,.0f} tokens/s an engine (assumed: measure, and give "
            "--tokens-per-second)."
        )
    lines.append("Nothing was generated or written.")
    return Group(table, Text("\n".join(lines)))
