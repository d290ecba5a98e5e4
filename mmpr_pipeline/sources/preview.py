"""What `mmpr sources` shows: the catalog as a table, one declaration as text, and real questions of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from mmpr_pipeline.records import Question, Reject
from mmpr_pipeline.sources.catalog import catalog_names, find_declaration, open_source
from mmpr_pipeline.sources.choices import LETTERS
from mmpr_pipeline.sources.declaration import SourceDeclaration

LIST_COLUMNS = ("name", "groups", "kind", "rows", "description")


def list_sources() -> list[tuple[str, ...]]:
    """One row a source of the catalog, of the columns `LIST_COLUMNS`: what fits a terminal; `show` says the rest."""
    return [_listed(find_declaration(name)[0]) for name in catalog_names()]


def show_source(name_or_path: str) -> str:
    """A declaration as YAML, without what was left at its default, and a note of what is unconfirmed."""
    declaration, path = find_declaration(name_or_path)
    data = declaration.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    notes = "".join(f"# not confirmed: {note}\n" for note in declaration.unconfirmed)
    return f"# {path}\n{notes}{text}"


def preview_source(name_or_path: str, n: int = 3, data_root: str | Path | None = None) -> Iterator[str]:
    """The first `n` rows of a source, each as text: what a model will be asked, and the gold; or why it is rejected."""
    source = replace(open_source(name_or_path, data_root), whole_files=False)
    index = source.index(limit=n)
    for item in source.read(index, 0, index.rows):
        yield _rejected(item) if isinstance(item, Reject) else _asked(item)


def _listed(declaration: SourceDeclaration) -> tuple[str, ...]:
    kinds = [declaration.kind] if isinstance(declaration.kind, str) else []
    for rule in declaration.kind_rules():
        kinds += [*rule.values.values(), *rule.contains.values(), *([rule.otherwise] if rule.otherwise else [])]
    return (
        declaration.name,
        ", ".join(declaration.groups) or declaration.role,
        ", ".join(dict.fromkeys(kinds)) or "by column",
        f"{declaration.rows:,}" if declaration.rows else "",
        declaration.description,
    )


def _asked(question: Question) -> str:
    images = [f"{image.format} {image.width} x {image.height}, {len(image.data):,} bytes" for image in question.images]
    lines = [f"{question.source} {question.source_id}  [{question.kind}, {question.language}]"]
    lines += [f"  image {number}: {text}" for number, text in enumerate(images, start=1)]
    lines += [f"  {line}" for line in question.text.splitlines()]
    lines += [f"  ({LETTERS[i]}) {choice}" for i, choice in enumerate(question.choices)]
    unit = f" {question.unit}" if question.unit else ""
    others = f"  (or {', '.join(question.answers)})" if question.answers else ""
    lines.append(f"  gold: {question.answer}{unit}{others}" if question.answer else "  open-ended: no gold")
    return "\n".join(lines)


def _rejected(reject: Reject) -> str:
    return f"{reject.source} {reject.source_id}  rejected: {reject.reason}  {reject.detail}"
