"""What a build would cost, before it is started: the table of `mmpr build --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.core.progress import duration
from mmpr_pipeline.engines.start import actor_count
from mmpr_pipeline.engines.vllm.memory import PromptPlan, plan_lines
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.pairing.settings import BlindSettings, StepSettings
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan
from mmpr_pipeline.screening.mixture import taken
from mmpr_pipeline.screening.report import ComparedSets, unchecked

RESPONSE_TOKENS = 325
"""Mean of the paper's chosen (300) and rejected (350.5) responses."""

THINKING_SHARE = 0.25
LONG = 8_192
"""Assumed of responses that think, or may be longer than LONG: they take this share of `--max-tokens` in the mean.
Measure yours and give `--response-tokens`."""

NANO_RESPONSE_TOKENS = 50
NANO_TOKENS_PER_SECOND = 2_500
"""The embedded model, measured on two CPU cores."""

TOKENS_PER_SECOND = 5_000
"""Assumed for one engine: an 8B model in bf16 on one current data-centre GPU with many sequences in flight. Measure
yours and give `--tokens-per-second`."""


@dataclass(frozen=True)
class Part:
    """What one way of sampling costs at most."""

    name: str
    rollouts: int
    tokens: int


@dataclass(frozen=True)
class BuildEstimate:
    """Upper bounds: every question sampled to the full, nothing taken from a journal."""

    questions: int
    parts: tuple[Part, ...]
    """The questions' own rollouts first, then what strategies sample beside them."""
    engines: int
    gpus: int
    """Of each engine; 0 on a CPU."""
    tokens_per_second: float
    response_tokens: float = RESPONSE_TOKENS
    prompt: PromptPlan = field(default_factory=PromptPlan)

    @property
    def rollouts(self) -> int:
        """Of all parts."""
        return sum(part.rollouts for part in self.parts)

    @property
    def generated_tokens(self) -> int:
        """Of all parts."""
        return sum(part.tokens for part in self.parts)

    @property
    def hours(self) -> float:
        """Wall time of generation with all engines busy."""
        return self.hours_of(self.generated_tokens) / self.engines

    def hours_of(self, tokens: int) -> float:
        """Hours that one engine takes for these tokens."""
        return tokens / self.tokens_per_second / 3600


def estimate_build(
    plan: BuildPlan, tokens_per_second: float | None = None, response_tokens: float | None = None, images: int = 1
) -> BuildEstimate:
    """Upper bounds for a plan; `tokens_per_second` is one engine's rate, `response_tokens` the mean response, `images`
    those of a question."""
    config = plan.config
    nano = config.engine.model == NANO
    decoding = config.sampling.decoding
    usual: float = NANO_RESPONSE_TOKENS if nano else RESPONSE_TOKENS
    if not nano and (config.sampling.style == "cot-think" or decoding.max_tokens > LONG):
        usual = max(usual, THINKING_SHARE * decoding.max_tokens)
    response = min(response_tokens or usual, decoding.max_tokens)
    samples = config.sampling.samples
    parts = [Part("questions", plan.rows * samples, round(plan.rows * samples * response))]
    if config.preset or config.engine.name == "replay":
        parts = [Part("questions", plan.rows * samples, 0)]
    else:
        # What strategies sample beside the questions' own rollouts, if every question calls for it.
        pairing, beside = plan.config.pairing, []
        if "blind" in pairing.strategies:
            rollouts = plan.rows * BlindSettings.model_validate(pairing.options.get("blind", {})).samples
            beside.append(Part("blind filter", rollouts, round(rollouts * response)))
        if "step" in pairing.strategies:
            step = StepSettings.model_validate(pairing.options.get("step", {}))
            split = min(step.responses, plan.config.sampling.samples)
            # The whole response is not completed; a beginning is, on average, half of it.
            rollouts = plan.rows * split * (step.steps - 1) * step.samples
            beside.append(Part("step data", rollouts, round(rollouts * response / 2)))
        parts += beside
    gpus = 0 if nano else config.engine.tensor_parallel
    rate = tokens_per_second or (NANO_TOKENS_PER_SECOND if nano else TOKENS_PER_SECOND)
    tiles = [(source.tiles, source.questions) for source in plan.sources]
    mean_tiles = sum(most * questions for most, questions in tiles) / max(1, plan.rows)
    prompt = PromptPlan(images, mean_tiles, max((most for most, _ in tiles), default=1))
    return BuildEstimate(plan.rows, tuple(parts), max(1, actor_count(config.engine)), gpus, rate, response, prompt)


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
        parts = [f"{share.weight:g} of it"] if share.weight != 1 else []
        parts += [f"at most {share.cap:,}"] if share.cap is not None else []
        parts += [f"{share.repeat} times each"] if share.repeat != 1 else []
        table.add_row(
            source.name, f"{source.index.rows:,}", (", ".join(parts) or "all"), told, " or ".join(each), rollouts
        )
    engine = plan.config.engine
    # What screening will do; what it will find is known only when the rows are read.
    report: ComparedSets = {"against": dict(plan.against.content), "unchecked": dict(plan.against.unchecked)}
    screening = (
        [f"Questions are compared with {', '.join(plan.against.content)} before sampling."] if plan.against else []
    )
    if warning := unchecked(report):
        screening.append(f"Warning: {warning}")
    if plan.screens:
        screening.append("Repeated and contaminated questions will be dropped first: the counts are upper bounds.")
    lines = [*screening]
    lines += [
        f"{bounds.questions:,} questions, {num_shards} shards, up to {bounds.rollouts:,} rollouts "
        f"and {bounds.generated_tokens:,} generated tokens.",
    ]
    for part in bounds.parts if len(bounds.parts) > 1 else ():
        hours = bounds.hours_of(part.tokens)
        cost = f"{hours * bounds.gpus:,.1f} GPU hours" if bounds.gpus else f"{hours:,.1f} hours of an engine"
        lines.append(f"  {part.name}: up to {part.rollouts:,} rollouts, {part.tokens:,} tokens, {cost}")
    if engine.name == "vllm":
        engines = "1 engine" if bounds.engines == 1 else f"{bounds.engines:,} engines"
        devices = f"of {bounds.gpus} GPU{'s'[: bounds.gpus > 1]}" if bounds.gpus else "on the CPU"
        devices += " each" if bounds.gpus and bounds.engines > 1 else ""
        time = f"{bounds.hours:,.1f} h" if bounds.hours >= 1 else duration(bounds.hours * 3600)
        lines.append(
            f"About {time} at most with {engines} {devices}, "
            f"at {bounds.tokens_per_second:,.0f} tokens/s an engine (assumed: measure, and give --tokens-per-second)."
        )
        if engine.model != NANO:
            longest = plan.config.sampling.decoding.max_tokens
            lines += plan_lines(engine, bounds.response_tokens, longest, bounds.prompt)
    lines.append("Nothing was generated or written.")
    return Group(table, Text("\n".join(lines)))
