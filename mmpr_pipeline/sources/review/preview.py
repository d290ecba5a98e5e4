"""What `mmpr sources` shows: the catalog as a table, one declaration as text, and real questions of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from mmpr_pipeline.core.masking import steering_nothing
from mmpr_pipeline.core.records import Reject
from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.choices import LETTERS
from mmpr_pipeline.sources.source import open_source

LIST_COLUMNS = ("name", "groups", "kind", "rows", "description")


JUDGED_BY: dict[str, str] = {
    "choice": "the choice named by its letter, its words or its value",
    "number": "equal value, to the decimals asked for or written; units convert",
    "math": "equal expressions, by algebra and not by their text",
    "list": "the same members, each equal",
    "yes_no": "yes or no, in either language",
    "text": "the same words, signs, numbers and negations; any of the golds will do",
    "chart": "numbers within 5% (years exactly), else as text",
    "document": "edit similarity (ANLS) of at least 0.5 to any of the golds",
    "none": "nothing: open-ended, for DropNTP",
}
"""How the checker judges each kind of answer, in a line."""


def list_sources() -> list[tuple[str, ...]]:
    """One row a source of the catalog, of the columns `LIST_COLUMNS`: what fits a terminal; `show` says the rest."""
    rows: list[tuple[str, ...]] = []
    for name in catalog_names():
        declaration = find_declaration(name)[0]
        groups = ", ".join(declaration.groups) or declaration.role
        kinds = ", ".join(_kinds(declaration)) or "by column"
        size = f"{declaration.rows:,}" if declaration.rows else ""
        rows.append((declaration.name, groups, kinds, size, declaration.description))
    return rows


def show_source(name_or_path: str) -> str:
    """A declaration as YAML, what its answers are judged by, and a note of what is unconfirmed.

    What was left at its default is left out, but for what users ask after: language, tiles and role.
    """
    declaration, path = find_declaration(name_or_path)
    always = declaration.model_dump(mode="json", include={"language", "tiles", "role"})
    data = {**declaration.model_dump(mode="json", exclude_defaults=True), **always}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    rules = "".join(f"# judged by, for {kind}: {JUDGED_BY[kind]}\n" for kind in _kinds(declaration))
    notes = "".join(f"# not confirmed: {note}\n" for note in declaration.unconfirmed)
    if declaration.hub and declaration.hub.revision is None:
        notes += (
            "# not pinned: a build takes the newest commit, records it and keeps to it; `revision` under hub pins one\n"
        )
    return f"# {path}\n{rules}{notes}{text}"


def preview_source(name_or_path: str, n: int = 3, data_root: str | Path | None = None) -> Iterator[str]:
    """The first `n` rows of a source, each as text: what a model will be asked, and the gold; or why it is rejected."""
    source = replace(open_source(name_or_path, data_root), whole_files=False)
    index = source.index(limit=n)
    for item in source.read(index, 0, index.rows):
        if isinstance(item, Reject):
            yield steering_nothing(f"{item.source} {item.source_id}  rejected: {item.reason}  {item.detail}")
            continue
        images = [f"{image.format} {image.width} x {image.height}, {len(image.data):,} bytes" for image in item.images]
        lines = [f"{item.source} {item.source_id}  [{item.kind}, {item.language}]"]
        lines += [f"  image {number}: {text}" for number, text in enumerate(images, start=1)]
        lines += [f"  {line}" for line in item.text.splitlines()]
        lines += [f"  ({LETTERS[i]}) {choice}" for i, choice in enumerate(item.choices)]
        unit = f" {item.unit}" if item.unit else ""
        others = f"  (or {', '.join(item.answers)})" if item.answers else ""
        lines.append(f"  gold: {item.answer}{unit}{others}" if item.answer else "  open-ended: no gold")
        yield steering_nothing("\n".join(lines))


def _kinds(declaration: SourceDeclaration) -> list[str]:
    """The kinds of answer that a declaration names."""
    kinds = [declaration.kind] if isinstance(declaration.kind, str) else []
    for rule in declaration.kind_rules():
        kinds += [*rule.values.values(), *rule.contains.values(), *([rule.otherwise] if rule.otherwise else [])]
    return list(dict.fromkeys(kinds))
