"""What a source is: one small YAML file that says where its rows are and how they become questions.

Adding a source is adding such a file; no code knows any source by name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Language, Prompting
from mmpr_pipeline.core.settings import explain_settings_error
from mmpr_pipeline.core.settings.base import load_yaml
from mmpr_pipeline.core.verdict import AnswerKind
from mmpr_pipeline.models.messages import IMAGE_MARK, MOST_TILES
from mmpr_pipeline.sources.declaration.rows import Columns, DeclarationPart, Format, one_or_several, path_columns

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
        if self.columns.image_path and not path_columns(self.columns.image_path):
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
            *(columns.unit, columns.precision, *(name for name, _ in path_columns(columns.image_path or ""))),
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

    def instructions(self) -> tuple[str, ...]:
        """The instructions of its own that it is asked with."""
        own = (self.prompt.cot, self.prompt.direct, self.prompt.open) if self.prompt else ()
        return tuple(text for text in own if text)

    def prompting(self, hint: str) -> Prompting | None:
        """How a question is to be asked that came with this hint on how to answer; None where the build decides."""
        if self.prompt is None:
            return None
        own = self.prompt.model_dump(exclude={"strip", "hint", "system"})
        return Prompting(**own, hint=hint if self.prompt.hint and hint else None)


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
