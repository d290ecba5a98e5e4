"""The parts of a declaration: where files and generated rows are, what is looked up from a column, how to ask.

Formats of files are the package's own, and those of distributions (entry points `mmpr.row_formats`):

    [project.entry-points."mmpr.row_formats"]
    toml = "my_package.toml_rows"

The entry point names a module or an object that is a `files.formats.RowFormat`. Its attribute `extensions`, as
`(".toml",)`, is optional: files with them need no `format:` in a declaration.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from mmpr_pipeline.core.records import Language, Prompting
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.core.verdict import AnswerKind
from mmpr_pipeline.models.messages import IMAGE_MARK

NAMES = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "tar")

ROW_FORMATS: Registry[Any] = Registry(
    "mmpr.row_formats", "row format", {name: f"mmpr_pipeline.sources.files.formats.{name}" for name in NAMES}
)


Format = Annotated[str, AfterValidator(ROW_FORMATS.require)]
"""The name of a row format."""


PATH_COLUMN = re.compile(r"\{([^{}:]+)(?::0(\d{1,2})d)?\}")
"""A column in an image path: `{name}`, or `{name:012d}` for a number of 12 digits."""


class DeclarationPart(BaseModel):
    """A mapping within a declaration; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:\d{1,5})?|\[[0-9a-fA-F:]{2,39}\](:\d{1,5})?")
"""A host that images may be fetched from, with its port where that is not the usual one."""

AnswerForm = Literal["letter", "index", "index1", "text"]


Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""Several texts; one alone may be written without a list."""


class HubLocation(DeclarationPart):
    """A data set on the Hub."""

    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Repository, as ORG/NAME.")
    config: str | None = Field(default=None, description="Configuration (subset); the only one if not given.")
    split: str = Field(default="train", description="Split.")
    revision: str | None = Field(default=None, description="Branch, tag or commit; the newest commit if not given.")
    files: Texts = Field(
        default=(), description="Paths or globs of the files of rows, where neither card nor folders say which."
    )


class FurtherColumns(DeclarationPart):
    """A second file that holds further columns of the rows, such as the answers."""

    file: str = Field(description="Path, where the files of rows are: beside the declaration, or on the Hub.")
    key: str = Field(description="Column that both files have, by which their rows belong together.")


class GeneratedRows(DeclarationPart):
    """Rows that a generator of the nano room makes, each a pure function of seed and row number."""

    name: str = Field(description="Generator, e.g. nano_grid.")
    split: str = Field(default="train", description="Which of the generator's disjoint splits.")
    rows: int = Field(ge=1, description="How many rows the source has.")
    seed: int = Field(default=0, ge=0, description="Seed of the generator.")


class KindByColumn(DeclarationPart):
    """The kind of each row's answer, looked up from a column."""

    column: str = Field(description="Column that tells the kind.")
    values: dict[str, AnswerKind] = Field(default_factory=dict, description="Its values as kinds; none: as they are.")
    contains: dict[str, AnswerKind] = Field(
        default_factory=dict, description="Texts it may contain, as kinds; asked after `values`, the first one decides."
    )
    otherwise: AnswerKind | None = Field(default=None, description="Kind of every other value; none: the next rule.")


class LanguageByColumn(DeclarationPart):
    """The language of each row, looked up from a column."""

    column: str = Field(description="Column that tells the language.")
    values: dict[str, Language] = Field(description="Its values as languages.")
    otherwise: Language = Field(default="en", description="Language of every other value.")


OwnInstruction = Annotated[str, Field(max_length=4000)]


class SourcePrompt(DeclarationPart):
    """How the questions of a source are asked, where that is other than a build would; see docs/prompts.md."""

    style: Literal["cot-final", "cot-boxed", "cot-think"] | None = Field(
        default=None, description="Style in place of the build's, unless that is direct."
    )
    language: Language | None = Field(default=None, description="Language of the instruction.")
    cot: OwnInstruction | None = Field(default=None, description="Own instruction, where reasoning is asked for.")
    direct: OwnInstruction | None = Field(default=None, description="Own instruction, where only the answer is.")
    open: OwnInstruction | None = Field(default=None, description="Own instruction for open-ended questions.")
    system: OwnInstruction | None = Field(
        default=None, description="System prompt of every question, where its row brings none."
    )
    strip: bool = Field(default=True, description="Take off the instructions that questions carry already.")
    hint: bool = Field(
        default=False, description="Ask with what was taken off too, between the choices and the build's instruction."
    )

    @field_validator("cot", "direct", "open", "system")
    @classmethod
    def _names_no_image(cls, text: str | None) -> str | None:
        if text is not None and IMAGE_MARK in text:
            raise ValueError("an instruction cannot hold <image>: the question says where its images go")
        return text

    def asking(self, hint: str) -> Prompting:
        """How a question is to be asked that came with this hint on how to answer."""
        own = self.model_dump(exclude={"strip", "hint", "system"})
        return Prompting(**own, hint=hint if self.hint and hint else None)

    def instructions(self) -> tuple[str, ...]:
        """The instructions of its own that the source is asked with."""
        return tuple(text for text in (self.cot, self.direct, self.open) if text)
