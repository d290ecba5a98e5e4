"""What `mmpr sources` shows: the catalog, a declaration, real questions; of `add` what was guessed, with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import PIL.Image
import yaml
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.core.masking import steering_nothing
from mmpr_pipeline.core.records import Image, Question, Reject
from mmpr_pipeline.sources.adding import Draft
from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.images.load import decode
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


WIDTH = 24
"""Columns of a terminal that a picture takes; half as many lines at most."""


def guessed(why: Sequence[tuple[str, str, str]]) -> Table:
    """Fields of a declaration with what was guessed, and the reason."""
    table = Table("field", "guessed", "because", show_edge=False)
    for field, value, reason in why:
        table.add_row(field, Text(steering_nothing(value[:80])), Text(steering_nothing(reason[:100])))
    return table


def items(shown: Sequence[Question | Reject], pictures: bool) -> Table:
    """Rows as questions, or why they are none; with `pictures` drawn in half blocks of colour."""
    table = Table(show_edge=False, show_lines=True)
    table.add_column("row", max_width=24, overflow="fold")
    for name in ("image", "question", "gold"):
        table.add_column(name)
    for item in shown:
        if isinstance(item, Reject):
            why = Text.assemble((f"rejected: {item.reason}", "red"), f" {steering_nothing(item.detail)}")
            table.add_row(Text(steering_nothing(item.source_id)), "", why, "")
        else:
            lines = [item.text[:400], *(f"({LETTERS[i]}) {choice[:100]}" for i, choice in enumerate(item.choices))]
            sizes = [f"{image.format} {image.width} x {image.height}" for image in item.images]
            drawn = [thumbnail(item.images[0])] if pictures and item.images else []
            gold = "open-ended"
            if item.answer is not None:
                more = f"\nor {', '.join(item.answers)[:80]}" if item.answers else ""
                gold = f"{item.answer[:80]}{more}\n[{item.kind}, {item.language}]"
            cells = (steering_nothing(part) for part in (item.source_id[:100], "\n".join(lines), gold))
            own, asked, answer = map(Text, cells)
            table.add_row(own, Group(*drawn, "\n".join(sizes)), asked, answer)
    return table


def tried(name: str, draft: Draft, rows: int = 20) -> Text:
    """A line on one source of many: what its first rows became, and what is doubtful."""
    source = draft.source
    index = source.index(rows)
    read = list(source.read(index, 0, index.rows))
    bad = [item for item in read if isinstance(item, Reject)]
    kind = draft.declaration.kind if isinstance(draft.declaration.kind, str) else "several kinds"
    what = "pairs" if draft.declaration.columns.chosen else "open-ended" if kind == "none" else kind
    line = Text(f"{name}  {len(read) - len(bad)} of {len(read)} rows are questions, {what}")
    if bad:
        line.append(steering_nothing(f"\n  {bad[0].reason}: {bad[0].detail[:100]}"), "yellow")
    for doubt in draft.doubts:
        line.append(steering_nothing(f"\n  {doubt}"), "dim")
    return line


def can_show_pictures(console: Console) -> bool:
    """Whether the terminal has colours enough for a picture."""
    return console.is_terminal and console.color_system in ("256", "truecolor")


def thumbnail(image: Image, width: int = WIDTH) -> Text:
    """An image as text: each sign shows two pixels, one above the other."""
    picture = decode(image)
    height = max(2, min(width, round(width * image.height / image.width)))
    small = picture.resize((width, height + height % 2), PIL.Image.Resampling.BILINEAR)
    text = Text(no_wrap=True)
    for top in range(0, small.height, 2):
        for x in range(small.width):
            upper, lower = (small.getpixel((x, y)) for y in (top, top + 1))
            text.append("▀", f"{_colour(upper)} on {_colour(lower)}")
        text.append("\n")
    return text


def _colour(pixel: object) -> str:
    return f"rgb{pixel}".replace(" ", "")
