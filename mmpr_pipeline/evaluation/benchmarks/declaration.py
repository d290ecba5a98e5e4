"""What a benchmark is: one small YAML file that says which rows, what is asked, and how an answer becomes a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.settings.base import load_yaml
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OwnPrompt(_Part):
    """The benchmark's own user turn. `{question}`, `{choices}` and `{COLUMN}` stand for what the row has."""

    body: str = Field(default="{question}\n{choices}", description="What is asked, without how to answer.")
    direct: str = Field(default="", description="How to answer, where only the answer is asked for.")
    cot: str | None = Field(
        default=None, description="How to answer, where reasoning is asked for; the style's own instruction if not set."
    )
    open: bool = Field(default=False, description="The body is asked alone, whatever the mode: answers are prose.")


class SplitColumn(_Part):
    """A breakdown by a column that holds several groups as one text."""

    column: str = Field(description="Column of the groups.")
    split: str = Field(min_length=1, description="What stands between them.")


class PublishedScore(_Part):
    """A number that was published, to be shown beside ours."""

    model: str = Field(description="The model, as its publisher calls it.")
    value: float = Field(description="The number, in the unit of the benchmark's first metric.")
    mode: Literal["cot", "direct", "unknown"] = Field(default="unknown", description="How the model was asked.")
    source: str = Field(description="Where it stands.")


class Benchmark(_Part):
    """A benchmark: rows, prompt, scoring of an answer, metrics over all of them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="Name, for --benchmarks.")
    title: str = Field(description="Name, as papers write it.")
    groups: tuple[str, ...] = Field(default=(), description="Groups it belongs to.")
    rows: SourceDeclaration | str = Field(description="A source declaration, or the name of a source in the catalog.")
    where: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Only rows whose column has one of these values; others are not part of it."
    )
    also: tuple[str, ...] = Field(default=(), description="Further columns that prompt, scoring and judge look at.")
    prompt: OwnPrompt | None = Field(default=None, description="Its own prompt; asked as its source is, if not set.")
    prompt_of: str = Field(default="ours", description="Whose prompt it is, as the table tells it.")
    score: str = Field(description="How one answer is scored: a name of `evaluation.scoring`.")
    metrics: tuple[str, ...] = Field(min_length=1, description="Names of `evaluation.metrics`; the first is the score.")
    by: dict[str, str | SplitColumn] = Field(
        default_factory=dict, description="Breakdowns: their names, and the column of each."
    )
    cycle: str | None = Field(
        default=None, description="What the rotations of one question share: a column, or `rows:N` for N rows in turn."
    )
    judge: str | None = Field(default=None, description="Judge prompt: a name of `evaluation.judges`.")
    official_judge: str | None = Field(default=None, description="The judge that published numbers come from.")
    files: dict[str, str] = Field(
        default_factory=dict, description="Further files that scoring needs, in the folder of --benchmark-data."
    )
    max_tokens: int | None = Field(default=None, ge=1, description="Longest response, where other than usual.")
    rows_expected: int | None = Field(default=None, ge=1, description="Rows of the whole benchmark.")
    published: tuple[PublishedScore, ...] = Field(default=(), description="Numbers of the paper and of others.")
    definition: str = Field(description="Where the metric is defined.")
    notes: tuple[str, ...] = Field(default=(), description="What a reader of its numbers should know.")

    @field_validator("where", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, where: object) -> object:
        if not isinstance(where, dict):
            return where
        return {column: (value,) if isinstance(value, str) else value for column, value in where.items()}

    @model_validator(mode="after")
    def _makes_sense(self) -> Benchmark:
        if self.score == "judge" and not self.judge:
            raise ValueError("judge: name the judge prompt by which answers are scored")
        return self

    def columns(self) -> tuple[str, ...]:
        """The columns of a row that are looked at beside those of its question."""
        cycle = () if not self.cycle or self.cycle.startswith("rows:") else (self.cycle,)
        broken_down = [by if isinstance(by, str) else by.column for by in self.by.values()]
        return tuple(dict.fromkeys((*self.also, *broken_down, *self.where, *cycle)))


def load_benchmark(path: Path) -> Benchmark:
    """The declaration in a YAML file. Raises ConfigError that names the file and each field that is wrong."""
    try:
        data: Any = load_yaml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the benchmark {path}: {error}", remedy="Give a readable YAML file.") from None
    return benchmark_of(data, str(path))


def benchmark_of(data: Any, where: str) -> Benchmark:
    """The benchmark that plain data declares. Raises ConfigError."""
    try:
        return Benchmark.model_validate(data)
    except ValidationError as error:
        lines = sorted({f"{'.'.join(map(str, e['loc'])) or 'benchmark'}: {e['msg']}" for e in error.errors()})
        raise ConfigError(
            f"The benchmark {where} cannot work:\n    " + "\n    ".join(lines),
            remedy="Correct these fields; docs/evaluation.md describes them.",
        ) from None
