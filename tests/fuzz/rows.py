"""Hostile values in every column of every catalog declaration: whatever a row holds costs this row, by name."""

from __future__ import annotations

import datetime
import decimal
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources import Source
from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration, one_or_several
from mmpr_pipeline.sources.images.load import ImagePlaces, image_bytes
from mmpr_pipeline.sources.indexed import RowPlace
from mmpr_pipeline.sources.rows.entries import entry_rows
from tests.fuzz.texts import HOSTILE_TEXTS, hostile_text
from tests.sources.made import png_bytes

Values = dict[str, Any]

HOSTILE_VALUES: list[Any] = [
    *HOSTILE_TEXTS,
    *(None, True, False, 0, -1, 10**400, -(10**400), 1 << 20_000, 2**63, 1e308, -0.0),
    *(float("nan"), float("inf"), -float("inf"), 1j, decimal.Decimal("NaN"), decimal.Decimal("1E+999999")),
    *(b"", b"\x00\xff", b"\x89PNG", bytearray(b"\xff"), memoryview(b"x"), datetime.date.min, datetime.timedelta.max),
    *(
        [],
        [[]],
        [None],
        [b"\xff"],
        [b"\xff", b"\xfe"],
        ["a", "a"],
        ["a", None, 3],
        [{}],
        [[[["deep"]]]],
        [float("nan")] * 3,
    ),
    *(
        [float("nan")] * 3,
        ["x"] * 27,
        ["x"] * 5_000,
        [{"text": None}],
        [{"A": {"B": []}}],
        ("a", "b"),
        {1, 2},
        object(),
    ),
    *({}, {"": None}, {None: 1}, {1: 2, "a": 3}, {"bytes": 5}, {"path": b"x"}, {"bytes": None, "path": None}),
    *({"text": ["a", "b"], "label": None}, {"A": 1 << 20_000, "B": ""}, {"from": "human", "value": 3}),
    [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": ["a"]}],
    [{"role": "user", "content": [{"type": "image", "image": 5}, {"type": "text", "text": 7}]}],
    [{"role": ["user"], "content": {"type": None}}, 3],
    "[" * 100_000,
    "{" * 100_000,
    "-" * 19_000 + "1",
    "0x" + "f" * 19_000,
    '{"A": 0x' + "f" * 10_000 + ', "B": 1}',
    "[" + "0x" + "f" * 10_000 + ", 1]",
    "[" + "1," * 9_000 + "1]",
]


def hostile_rows(example: Mapping[str, Any], draw: random.Random) -> Iterator[Values]:
    """Endlessly, the example with one to four of its columns (or of the fields of its structs) replaced or gone."""
    places = list(_places(example))
    while True:
        row = dict(example)
        for _ in range(draw.choice([1, 1, 2, 4])):
            _replace(row, draw.choice(places), hostile_value(draw), gone=draw.random() < 0.03)
        yield row


def hostile_value(draw: random.Random) -> Any:
    """A value of the list, a drawn text, or a few of them in a list or mapping."""
    kind = draw.random()
    if kind < 0.55:
        return draw.choice(HOSTILE_VALUES)
    if kind < 0.8:
        return hostile_text(draw)
    few = [hostile_value(draw) for _ in range(draw.randint(0, 4))]
    return few if kind < 0.92 else {draw.choice(["A", "B", "text", "value", "bytes", "path", ""]): one for one in few}


def _places(value: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, inner in value.items():
        yield (*above, name)
        if isinstance(inner, Mapping):
            yield from _places(inner, (*above, name))


def _replace(row: Values, place: tuple[str, ...], value: Any, gone: bool) -> None:
    for name in place[:-1]:
        if not isinstance(row.get(name), Mapping):
            return
        row[name] = dict(row[name])
        row = row[name]
    if gone:
        row.pop(place[-1], None)
    else:
        row[place[-1]] = value


@cache
def _sources() -> list[tuple[Source, Values]]:
    found = []
    for name in catalog_names():
        declaration = find_declaration(name)[0]
        for example in (declaration.example, declaration.other_example):
            if example is not None:
                found.append((Source(declaration, Path("/nowhere")), _pictured(declaration, example)))
    return found


def _pictured(declaration: SourceDeclaration, example: Mapping[str, Any]) -> Values:
    """An example with the images that it leaves out, as `datasets` keeps them."""
    columns, row = declaration.columns, dict(example)
    images = {"bytes": png_bytes(), "path": "1.png"}
    for name in [*one_or_several(columns.image), *([columns.images] if columns.images else [])]:
        if name not in row and "." not in name and ";" not in name:
            row[name] = [images] if name == columns.images else images
    return row


def outcomes(source: Source, row: Values) -> Iterator[Question | Reject]:
    """What a source makes of a row, as it does when it reads: entries, id, question."""
    good = png_bytes()

    def load(reference: Any) -> bytes:
        """Paths that are as in the example lead to a picture; whatever else is read as a source reads it."""
        fine = (
            isinstance(reference, str) and len(reference) < 200 and reference[-4:].lower() in (".png", ".jpg", "jpeg")
        )
        return good if fine else image_bytes(reference, ImagePlaces())

    for number, one in enumerate(entry_rows(row, source.declaration.columns), start=1):
        yield source._item(one, RowPlace(0, number), False, load)


def try_rows(count: int, seed: int) -> Counter[str]:
    """Put `count` hostile rows through the catalog's declarations in turn; how often each outcome was seen.

    Whatever is raised comes out. Rejects of the net (`unreadable_row`) are counted by the exception's name.
    """
    seen: Counter[str] = Counter()
    draws = [hostile_rows(example, random.Random(f"{seed} {n}")) for n, (_, example) in enumerate(_sources())]
    for number in range(count):
        source, _ = _sources()[number % len(draws)]
        for item in outcomes(source, next(draws[number % len(draws)])):
            name = getattr(item, "reason", "a question")
            seen[f"{name}: {getattr(item, 'detail', '')}" if name == "unreadable_row" else name] += 1
    return seen
