"""The part of a declaration that readers of rows look at: the format of the files, and which column holds what.

Formats are the package's own, and those of distributions (entry points `mmpr.row_formats`):

    [project.entry-points."mmpr.row_formats"]
    toml = "my_package.toml_rows"

The entry point names a module or an object that is a `files.formats.RowFormat`. Its attribute `extensions`, as
`(".toml",)`, is optional: files with them need no `format:` in a declaration.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mmpr_pipeline.core.registry import Registry

NAMES = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "tar")

ROW_FORMATS: Registry[Any] = Registry(
    "mmpr.row_formats", "row format", {name: f"mmpr_pipeline.sources.files.formats.{name}" for name in NAMES}
)


Format = Annotated[str, AfterValidator(ROW_FORMATS.known)]
"""The name of a row format."""


PATH_COLUMN = re.compile(r"\{([^{}:]+)(?::0(\d{1,2})d)?\}")
"""A column in an image path: `{name}`, or `{name:012d}` for a number of 12 digits."""


class DeclarationPart(BaseModel):
    """A mapping within a declaration; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(DeclarationPart):
    """Which column holds what.

    `a.b` reaches into structs, `turns.0.text` into lists (from 0), `jpg;png` takes the first of several that a row has.
    With `each` or `turns` a row holds several questions, and `COLUMN.field` is a field of one of them.
    """

    each: str | tuple[str, ...] | None = Field(
        default=None, description="Column of a list, each entry of which is a question of its own; or parallel lists."
    )
    turns: str | None = Field(
        default=None,
        description="Column of a conversation; each question and its reply are a question of their own, "
        "`COLUMN.question` and `COLUMN.answer`.",
    )

    question: str = Field(description="Text of the question; `<image>`, `<image1>` ... mark where images go.")
    question_after: str | None = Field(
        default=None, description="Only what follows this text in the question, where it stands there."
    )
    question_until: str | None = Field(
        default=None, description="Only what comes before this text in (the rest of) the question, where it stands."
    )
    context: str | None = Field(default=None, description="A passage or hint, put before the question, where given.")
    system: str | None = Field(default=None, description="System prompt, where the row brings one.")
    history: str | None = Field(
        default=None,
        description="Conversation before the question, as turns of who speaks and what. The question's own column: all "
        "before the last that the user says. With `turns`: `COLUMN.history`.",
    )
    id: str | None = Field(default=None, description="Id of the row, unique in the source.")
    image: str | tuple[str, ...] | None = Field(default=None, description="Column of one image; or several columns.")
    images: str | None = Field(default=None, description="Column of a list of images.")
    image_path: str | None = Field(
        default=None, description="Path of the image, made of columns in braces: `{split}/{id}.png`, `{image_id:012d}`."
    )
    choices: str | tuple[str, ...] | None = Field(
        default=None, description="List of texts, mapping of letters, or either as JSON text; or a column a choice."
    )
    answer: str | None = Field(default=None, description="The gold answer.")
    answer_after: str | tuple[str, ...] | None = Field(
        default=None,
        description="Only what follows the last of this text in the answer; of several, the first found. "
        "`<answer>` ends at `</answer>`, and `\\boxed{` where it is closed.",
    )
    answer_strip: str | None = Field(default=None, description="Signs taken off the end of a gold, e.g. a full stop.")
    answers: str | None = Field(default=None, description="List of golds, each as good as the other.")
    chosen: str | None = Field(default=None, description="The preferred response, where rows are pairs already.")
    rejected: str | None = Field(default=None, description="The dispreferred response, where rows are pairs already.")
    unit: str | None = Field(default=None, description="Unit of a numeric gold.")
    precision: str | None = Field(default=None, description="Decimals asked for in a numeric answer.")

    def entry_columns(self) -> tuple[str, ...]:
        """The columns whose entries are questions of their own; none where a row is one question."""
        return (self.turns,) if self.turns else one_or_several(self.each)

    @property
    def own_ids(self) -> bool:
        """Whether each question of a row of several brings an id of its own."""
        column = self.id or ""
        return any(column == name or column.startswith(f"{name}.") for name in self.entry_columns())


def one_or_several(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """One name, several, or none, as a tuple."""
    return (names,) if isinstance(names, str) else names or ()


def path_columns(template: str) -> list[tuple[str, int]]:
    """The columns in an image path, and how many digits each is padded to with zeros (0: as it is)."""
    return [(name, int(digits or 0)) for name, digits in PATH_COLUMN.findall(template)]
