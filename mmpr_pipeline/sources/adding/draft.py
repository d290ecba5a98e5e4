"""A declaration guessed from what is there, with the reason beside each line; nothing is written until asked for."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from mmpr_pipeline.core.errors import ConfigError, SourceError, nearest
from mmpr_pipeline.sources.adding.answers import guess_answers
from mmpr_pipeline.sources.adding.columns import guess_columns
from mmpr_pipeline.sources.adding.images import guess_places
from mmpr_pipeline.sources.adding.look import Found, inspect_target, read_sample
from mmpr_pipeline.sources.adding.table import IDS, Guess, Table, image_form, is_called, last, source_name
from mmpr_pipeline.sources.declaration.schema import Columns, SourceDeclaration
from mmpr_pipeline.sources.source import Source

_ENDINGS = frozenset({"jsonl", "json", "parquet", "csv", "tsv", "tar", "arrow", "ndjson"})
_ORDER = ("name", "description", "homepage", "licence", "role", "language", "tiles", "files", "hub", "format",
          "join", "archives", "image_root", "image_prefix", "image_hosts", "text_only", "kind", "answer_form",
          "columns")  # fmt: skip
_COLUMNS = ("id", "each", "turns", "question", "context", "image", "images", "image_path", "choices", "answer",
            "answers", "answer_after", "answer_strip", "chosen", "rejected", "unit", "precision")  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """A declaration that is not written yet: its text, why each field is as it is, what is doubtful."""

    path: Path
    text: str
    declaration: SourceDeclaration
    why: tuple[tuple[str, str, str], ...]
    doubts: tuple[str, ...]

    @property
    def source(self) -> Source:
        """The source as it would be."""
        return Source(self.declaration, self.path.parent.resolve(), whole_files=False)

    def write(self, force: bool = False) -> None:
        """Write the file. Raises ConfigError where it cannot be written, or, without `force`, is there already."""
        try:
            with self.path.open("w" if force else "x", encoding="utf-8") as file:
                file.write(self.text)
        except OSError as error:
            raise ConfigError(
                f"Cannot write {self.path}: {error.strerror or error}.", remedy="Give another file with --out."
            ) from None


def draft_source(
    target: str,
    name: str | None = None,
    out: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    hosts: tuple[str, ...] = (),
    fields: Mapping[str, Any] | None = None,
    doubts: Sequence[str] = (),
    force: bool = False,
) -> Draft:
    """A declaration of what is at a path or on the Hub.

    `columns` are columns that are known, by their name in `Columns`, and may hold `kind`, `answer_form` and `language`;
    `hosts` are hosts that image URLs may name; `fields` are other fields of the declaration that are known;
    `doubts` are added to those that arise; `force`: a file that is there may be written over. Raises ConfigError where
    `target` is nothing or its columns cannot be guessed, SourceError where it has no rows.
    """
    called = name or ""
    if not called:  # after the file or the data set
        stem = str(out).removesuffix(".yml").removesuffix(".yaml") if out else target
        stem = stem.rstrip("/").rpartition("/")[2]
        while Path(stem).suffix.lower().lstrip(".") in _ENDINGS:
            stem = Path(stem).stem
        called = source_name(stem)[:64] or "my_questions"
    path = Path(out) if out else Path(f"{called}.yaml")
    if path.exists() and not force:
        raise ConfigError(
            f"{path} already exists.", remedy="Give another file with --out, or write over it with --force."
        )
    return draft_found(inspect_target(target, path.parent), path, called, columns, hosts, fields, doubts)


def draft_found(
    found: Found,
    path: Path,
    called: str,
    columns: Mapping[str, str] | None = None,
    hosts: tuple[str, ...] = (),
    fields: Mapping[str, Any] | None = None,
    doubts: Sequence[str] = (),
) -> Draft:
    """A declaration, to be written at `path`, of what was found; see `draft_source`."""
    known = dict(columns or {})
    fixed = {key: known.pop(key) for key in ("kind", "answer_form", "language") if key in known}
    if unknown := [name for name in known if name not in Columns.model_fields]:
        names = [*Columns.model_fields, "kind", "answer_form", "language"]
        raise ConfigError(
            f"No field is called {unknown[0]}{nearest(unknown[0], names, listing=False) or '.'}",
            remedy=f"--column FIELD=COLUMN takes {', '.join(names)}.",
        )
    guess, table = guess_columns(found.rows, known)
    golds = {"answer", "answers", "chosen"}
    if found.further and not ("question" in guess.columns and golds & set(guess.columns)):
        guess, table = _from_two_files(found, known) or (guess, table)
    if not {"image_root", "archives"} & set(fields or ()):
        guess_places(guess, table, found)
    if "question" not in guess.columns:
        raise ConfigError(
            f"No column of {found.place} looks like questions; it has {', '.join(table.columns)}.",
            remedy="Name it: --column question=NAME (and answer=, image=, choices= where needed).",
        )
    if table.size:
        guess_answers(guess, table, found.place)
    _hosts(guess, table, hosts)
    for column in table.columns:
        values = set(table.texts(column))
        if last(column) in ("licence", "license") and len(values) == 1 and "licence" not in found.fields:
            guess.fields["licence"], guess.why["licence"] = values.pop(), f"every row says so in {column}"
    for key, value in fixed.items():
        guess.fields[key], guess.why[key] = value, "as you said"
    for field, known_value in (fields or {}).items():
        guess.fields[field], guess.why[field] = known_value, "as stated beside the rows"
    guess.doubts += doubts
    return _drafted(path, called, found, guess)


def _from_two_files(found: Found, known: Mapping[str, str]) -> tuple[Guess, Table] | None:
    """The guess where questions are in one file of a folder and their golds in another, as VQA publishes them, or
    where the likeliest file has no questions; `found` then says which. None where no file helps."""
    every = [(found.fields["files"], found.rows, found.fields.get("format"))]
    for file in found.further:
        other = Found(found.place, {})
        with suppress(SourceError):
            read_sample(other, [file])
            every.append((file.name, other.rows, other.fields.get("format")))
    asking = next((one for one in every if "question" in guess_columns(one[1], known)[0].columns), None)
    if asking is None:
        return None
    name, rows, format = asking
    found.fields["files"], found.rows, found.why["files"] = name, rows, "the file of questions"
    found.fields.pop("format", None)
    if format:
        found.fields["format"] = format
    if found.folder and isinstance(name, str):
        found.beside = (found.folder / posixpath.relpath(name, found.root)).parent
    guess, table = guess_columns(rows, known)
    for other_name, golds, _ in every:
        key = _shared_key(rows, golds) if other_name != name and isinstance(other_name, str) else None
        if key is None or {"answer", "answers", "each", "turns"} & set(guess.columns):
            continue
        by_key = {str(row.get(key)): row for row in golds}
        joined: list[Mapping[str, Any]] = [{**by_key.get(str(row.get(key)), {}), **row} for row in rows]
        both, joined_table = guess_columns(joined, known)
        if {"answer", "answers"} & set(both.columns):
            found.fields["join"] = {"file": other_name, "key": key}
            found.why["join"] = f"the golds are there, by {key}"
            found.rows = joined
            return both, joined_table
    return guess, table


def _shared_key(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> str | None:
    """A column that tells the rows of both samples apart, and of which they share most values."""
    one, two = Table(rows), Table(others)
    for name in sorted(one.columns, key=lambda name: (not is_called(name, IDS), name)):
        own, their = one.texts(name), two.texts(name)
        if len({*own}) == len(rows) and len({*their}) == len(others) and 2 * len({*own} & {*their}) > len(rows):
            return name
    return None


def _hosts(guess: Guess, table: Table, hosts: tuple[str, ...]) -> None:
    """The hosts of image URLs: nothing is fetched from them until the declaration allows it."""
    columns = [guess.columns.get(name) for name in ("image", "images")]
    values = [value for name in columns if isinstance(name, str) for value in table.present(name)]
    flat = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    seen = sorted({urlsplit(value).netloc for value in flat if isinstance(value, str) and image_form(value) == "url"})
    if hosts:
        guess.fields["image_hosts"], guess.why["image_hosts"] = list(hosts), "as you said"
    elif seen:
        guess.doubts.append(
            f"Images are URLs of {', '.join(seen[:5])}. Nothing is fetched from a host that image_hosts does not name: "
            f"add --allow-host {seen[0]}, if you trust it."
        )


def _drafted(path: Path, called: str, found: Found, guess: Guess) -> Draft:
    columns = {key: guess.columns[key] for key in _COLUMNS if key in guess.columns}
    columns |= {key: value for key, value in guess.columns.items() if key not in columns}
    fields = {"name": called, "description": f"Questions of {called}.", **found.fields, **guess.fields}
    if not {"image", "images", "image_path"} & set(columns):
        fields["text_only"] = True
        guess.why["text_only"] = "no column refers to images"
        guess.doubts.append("No images were found: these would be questions of text only.")
    fields = {key: fields[key] for key in _ORDER if key in fields} | {"columns": columns}
    try:
        declaration = SourceDeclaration.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigError(
            f"What was guessed of {found.place} cannot work: {problems}", remedy="Say more with --column FIELD=COLUMN."
        ) from None
    why = {**found.why, **guess.why}
    doubts = (*found.doubts, *guess.doubts)
    shown = [(key, _plain(value), why.get(key, "")) for key, value in fields.items() if key in why]
    shown += [(f"columns.{key}", _plain(value), why.get(f"columns.{key}", "")) for key, value in columns.items()]
    return Draft(path, yaml_text(fields, why, doubts), declaration, tuple(shown), doubts)


def yaml_text(fields: Mapping[str, Any], why: Mapping[str, str], doubts: tuple[str, ...]) -> str:
    """The declaration as YAML, each line with its reason."""
    lines = ["# Written by `mmpr sources add`. What was guessed says why; correct what is wrong."]
    lines += [f"# doubtful: {' '.join(doubt.split())}" for doubt in doubts]
    for key, value in fields.items():
        if key == "columns":
            lines.append("columns:")
            lines += [f"  {_line(name, column, why.get(f'columns.{name}'))}" for name, column in value.items()]
        else:
            lines.append(_line(key, value, why.get(key)))
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, why: str | None) -> str:
    text = f"{key}: {_plain(value)}"
    return f"{text}  # {' '.join(why.split())}" if why else text


def _plain(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n...\n").strip()
