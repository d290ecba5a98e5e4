"""What a source is: one small YAML file that says where its rows are and how they become questions.

Adding a source is adding such a file; no code knows any source by name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Language
from mmpr_pipeline.core.settings import explain_settings_error
from mmpr_pipeline.core.settings.base import load_yaml
from mmpr_pipeline.core.verdict import AnswerKind
from mmpr_pipeline.models.messages import MOST_TILES
from mmpr_pipeline.sources.declaration.parts import (
    HOST,
    PATH_COLUMN,
    AnswerForm,
    DeclarationPart,
    Format,
    FurtherColumns,
    GeneratedRows,
    HubLocation,
    KindByColumn,
    LanguageByColumn,
    SourcePrompt,
    Texts,
)


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


_DESCRIPTIVE = {"description", "role", "licence", "rows", "homepage", "groups"}
_DESCRIPTIVE |= {"example", "other_example", "unconfirmed"}
"""Fields that describe a source and decide nothing about its rows."""
_PAIR = ("chosen", "rejected")
_TALK = ("system", "history")


class SourceDeclaration(DeclarationPart):
    """A source of questions: exactly one of `files`, `hub` and `generated` says where its rows are."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="Name, as it is written into every row.")
    description: str = Field(description="What the questions are about, in a sentence.")
    files: Texts = Field(default=(), description="Paths or globs, relative to the declaration or data root.")
    hub: HubLocation | None = Field(default=None, description="Data set on the Hub.")
    generated: GeneratedRows | None = Field(default=None, description="Rows that are generated.")
    format: Format | None = Field(default=None, description="Format of the files; by their extension if not given.")
    join: FurtherColumns | None = Field(
        default=None, description="A second file with further columns of each row: answers beside questions."
    )
    image_root: str | None = Field(
        default=None, description="Where image paths start; the rows' own folder if not set."
    )
    image_prefix: str | None = Field(
        default=None, description="How image paths begin that is left out, e.g. a folder of somebody else's machine."
    )
    archives: Texts = Field(
        default=(),
        description="Zip files that image paths lead into: paths or globs, of the data root or the Hub's; `x.zip_*` "
        "are the parts of a split one, `x.zip!/*.zip` those inside of another.",
    )
    image_hosts: Texts = Field(
        default=(), description="Hosts that image URLs may name: HOST, HOST:PORT or *.DOMAIN; of no other is fetched."
    )
    private_hosts: bool = Field(
        default=False, description="Let image hosts be on this machine or in a private network."
    )
    columns: Columns = Field(description="Which column holds what.")
    kind: AnswerKind | KindByColumn | tuple[KindByColumn, ...] = Field(
        description="Kind of answer: fixed, or by a column; of several rules, the first that knows the row decides."
    )
    answer_form: AnswerForm = Field(
        default="text", description="How the gold of a choice is given: letter, index (from 0), index1, or its text."
    )
    where: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Only rows whose column has one of these values; others are rejected by name."
    )
    prompt: SourcePrompt | None = Field(default=None, description="How to ask, where not as the build does.")
    text_only: bool = Field(default=False, description="Allow questions without an image.")
    tiles: int = Field(
        default=6, ge=1, le=MOST_TILES, description="Most image tiles (the paper: 6 general, 12 OCR, chart)."
    )
    most_pixels: int | None = Field(
        default=None, ge=1, le=400_000_000, description="Most pixels of an image, where that is more than 50 million."
    )
    language: Language | LanguageByColumn = Field(default="en", description="Language: fixed, or by a column.")
    role: Literal["train", "evaluation"] = Field(default="train", description="What the source is meant for.")
    licence: str = Field(default="unknown", description="Licence, as the source states it.")
    rows: int | None = Field(default=None, ge=1, description="About how many rows, where known.")
    homepage: str | None = Field(default=None, description="Where to read more.")
    groups: tuple[str, ...] = Field(default=(), description="Groups it belongs to: `--sources math` means all of them.")
    example: dict[str, object] | None = Field(default=None, description="A row as the source has it, images left out.")
    other_example: dict[str, object] | None = Field(
        default=None, description="Another such row; its gold must not pass for the first one's."
    )
    unconfirmed: tuple[str, ...] = Field(default=(), description="What is stated here without having been confirmed.")

    @field_validator("image_hosts")
    @classmethod
    def _hosts_are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not a host: give HOST, HOST:PORT or *.DOMAIN, without http://")
        return hosts

    @field_validator("where", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, where: object) -> object:
        if not isinstance(where, dict):
            return where
        return {column: (value,) if isinstance(value, str) else value for column, value in where.items()}

    @field_validator("groups")
    @classmethod
    def _groups_are_names(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        for group in groups:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", group):
                raise ValueError(f"{group!r} is not a name of a group: small letters, digits, _, . and - only")
        return groups

    @model_validator(mode="after")
    def _makes_sense(self) -> SourceDeclaration:
        if sum(map(bool, (self.files, self.hub, self.generated))) != 1:
            raise ValueError("give exactly one of files, hub and generated")
        if self.columns.each and self.columns.turns:
            raise ValueError("columns: give each or turns, not both")
        if self.archives and self.generated:
            raise ValueError("archives: generated rows have no image files")
        if self.join and (self.generated or self.columns.entry_columns()):
            raise ValueError("join: only for files of which a row is one question")
        ways = sum(map(bool, (self.columns.image, self.columns.images, self.columns.image_path)))
        if ways > 1:
            raise ValueError("columns: give image or images, not both; nor image_path beside them")
        if not ways and not self.text_only:
            raise ValueError("columns: name the image column, or say text_only: true")
        if bool(self.columns.chosen) != bool(self.columns.rejected):
            raise ValueError("columns: a pair is chosen and rejected; name both columns, or none")
        if self.columns.image_path and not PATH_COLUMN.search(self.columns.image_path):
            raise ValueError("columns: image_path names no column; say for example images/{image_id}.jpg")
        if self.columns.choices and self.columns.answer and "answer_form" not in self.model_fields_set:
            raise ValueError("answer_form: with choices, say how the gold is given: letter, index, index1 or text")
        if self.kind != "none" and not self.columns.answer and not self.columns.answers:
            raise ValueError("columns: name the answer column, or say kind: none")
        return self

    def kind_rules(self) -> tuple[KindByColumn, ...]:
        """The rules that look a row's kind up; none where the kind is fixed."""
        if isinstance(self.kind, str):
            return ()
        return (self.kind,) if isinstance(self.kind, KindByColumn) else self.kind

    def column_names(self) -> list[str]:
        """Every column that turning a row into a question looks at."""
        columns = self.columns
        named = [
            *(columns.question, columns.id, *one_or_several(columns.image), columns.images),
            *one_or_several(columns.choices),
            *(columns.answer, columns.answers, *columns.entry_columns()),
            *(columns.context, columns.system, columns.history, columns.chosen, columns.rejected),
            *(columns.unit, columns.precision, *(name for name, _ in PATH_COLUMN.findall(columns.image_path or ""))),
        ]
        names = [name for column in named if column for name in column.split(";")]  # alternatives apart
        names += [*(rule.column for rule in self.kind_rules()), *self.where]
        if isinstance(self.language, LanguageByColumn):
            names.append(self.language.column)
        return list(dict.fromkeys(names))

    def identity(self) -> dict[str, object]:
        """What decides the questions made of the rows, as plain JSON data: all but what is only told about them."""
        kept = self.model_dump(mode="json", exclude=_DESCRIPTIVE)
        if not self.columns.chosen:  # as it was before a source could bring pairs
            kept["columns"] = {name: value for name, value in kept["columns"].items() if name not in _PAIR}
        for name in _TALK:
            if kept["columns"][name] is None:
                del kept["columns"][name]
        if self.prompt and self.prompt.system is None:
            del kept["prompt"]["system"]
        for name in ("most_pixels", "image_prefix", "join"):
            if kept[name] is None:
                del kept[name]
        if self.prompt and not self.prompt.hint:
            del kept["prompt"]["hint"]
        return {**kept, "stripping": STRIPPING}


def load_declaration(path: str | Path) -> SourceDeclaration:
    """The declaration in a YAML file. Raises ConfigError that names the file and each field that is wrong."""
    path = Path(path)
    try:
        data = load_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the source declaration {path}: {error.strerror or error}.",
            remedy="Give the path of a YAML file, or a name that `mmpr sources list` shows.",
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not YAML: {error}", remedy="Correct the file.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping of fields.", remedy="See examples/sources for declarations.")
    try:
        return SourceDeclaration.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            f"The source declaration {path} cannot work:\n    "
            + "\n    ".join(explain_settings_error(error, SourceDeclaration)),
            remedy="Correct these fields; docs/declarations.md lists them all, and examples/sources has examples.",
        ) from None


STRIPPING = 1
"""Version of these rules; part of a source's fingerprint."""
