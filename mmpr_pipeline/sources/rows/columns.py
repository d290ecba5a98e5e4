"""What columns of a row hold: values looked up and as text, parts cut out, image references and their marks. Pure."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from mmpr_pipeline.checking.finding.announcements import matching_braces
from mmpr_pipeline.core.errors import ItemRejected, nearest
from mmpr_pipeline.models.messages import IMAGE_MARK
from mmpr_pipeline.sources.declaration.parts import PATH_COLUMN
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration, one_or_several

MARK = re.compile(r"<\|?image[ _-]?(\d{0,3})\|?>", re.IGNORECASE)
"""Where an image goes in a text, as data sets write it, with the image's number (from 1) where there is one."""

MAX_IMAGES = 32
"""Most images of one question."""

MAX_LITERAL = 20_000
"""Most characters of a Python list in a text."""

MOST_DIGITS = 4300
"""Of a number that becomes text, as Python's own bound for whole ones."""

# Python warns of literals such as `1if`, with a line on the terminal for each text that has one.
warnings.filterwarnings("ignore", category=SyntaxWarning, module="<unknown>")
_ABSENT = object()
_OPENING = re.compile(r"<(\w{1,40})>")


Row = Mapping[str, Any]


def lookup(row: Row, column: str | None, *, required: bool = False) -> Any:
    """The value of `a`, of `a.b` (a column of that name, or a field of a struct), of `a.0` (the first of a list), or
    of the first of `a;b` that is not null.

    None where it is null everywhere, and where no alternative is a column of the row or none is named; `required`:
    raises ItemRejected there (`missing_column`).
    """
    known = not required
    for name in column.split(";") if column else ():
        value: Any = row
        dot, rest = ".", name
        while dot:
            whole = rest
            head, dot, rest = whole.partition(".")
            if isinstance(value, list | tuple) and head.isdecimal():
                value = value[int(head)] if len(head) < 7 and int(head) < len(value) else None
                if value is None:
                    break
            elif isinstance(value, Mapping) and whole in value:
                value = value[whole]
                break
            else:
                value = value[head] if isinstance(value, Mapping) and dot and head in value else _ABSENT
        if value is not None and value is not _ABSENT:
            return value
        known = known or value is None
    if not known:
        names = list(map(str, row))
        near = nearest(column or "", names, listing=False) or f"; the row has {', '.join(names)}"
        raise ItemRejected("missing_column", f"{column}{near}"[:300])
    return None


def cut(text: str, after: str | None, until: str | None) -> str:
    """What stands after the first `after` and before the next `until`; a mark that does not stand there cuts nothing.

    So conversations lose the instructions around their question, and rows without them stay as they are.
    """
    if after and after in text:
        text = text.partition(after)[2]
    text = text.lstrip()
    if until and until in text:
        text = text.partition(until)[0]
    return text.strip()


def cut_answer(text: str, marks: Sequence[str], strip: str | None) -> str:
    r"""What stands after the last of the first mark that is there, without that sentence's full stop; else all of it.

    After a mark that opens something, `<answer>` or `\boxed{`, it ends where that is closed. `strip` are signs taken
    off the end in any case; a text of nothing else keeps them.
    """
    mark = next((mark for mark in marks if mark in text), None)
    if mark:
        text = text.rpartition(mark)[2]
        if tag := _OPENING.fullmatch(mark.strip()):
            text = text.partition(f"</{tag[1]}>")[0]
        elif mark.endswith("{") and (closing := matching_braces("{" + text).get(0)) is not None:
            text = text[: closing - 1]
        text = text.strip().removesuffix(".")
    text = text.strip()
    return (text.rstrip(strip).strip() or text) if strip else text


def image_path(template: str, value_of: Callable[[str], Any]) -> str:
    """The path with the columns' values put in. Raises ItemRejected: wrong_type, or missing_image where one is null.

    Where the path may lead is not decided here: `ImageFolder` keeps it below the source's folder.
    """

    def filled(name: str, digits: str | None) -> str:
        value = value_of(name)
        if value is None or value == "":
            raise ItemRejected("missing_image", f"{name} is empty")
        text = None if isinstance(value, bool | float) else cell_text(value)
        if text is None:
            raise ItemRejected("wrong_type", f"{name}: {type(value).__name__}")
        return text.rjust(int(digits), "0") if digits else text

    return PATH_COLUMN.sub(lambda match: filled(match[1], match[2]), template)


def without_marks(text: str) -> str:
    """The text without marks and without blanks around it. Raises ItemRejected: image_marks.

    Two marks one inside the other (`<ima<image>ge>`) would leave a mark behind; only hostile texts have them.
    """
    kept = MARK.sub("", text)
    if MARK.search(kept):
        raise ItemRejected("image_marks", "a mark inside of a mark")
    return kept.strip()


def cell_text(value: Any) -> str | None:
    """Text, numbers, dates and truth values as text; None for null, NaN, numbers of thousands of digits, all else."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) < MOST_DIGITS else None
    if not isinstance(value, int | float):
        return None
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return None


def clean(text: str) -> str:
    """Text that can be written as UTF-8: half surrogate pairs, which JSON can spell, become the replacement sign."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_MISSING = re.compile(r"n\.?\s?/?\s?a\.?|none|null|nan|unknown|-+|\?+|tbd", re.IGNORECASE)


def is_missing(gold: str) -> bool:
    """Whether a cell says that there is no answer: `n/a`, `-`, `unknown`."""
    return _MISSING.fullmatch(gold.strip()) is not None


def image_references(declaration: SourceDeclaration, row: Row) -> list[Any]:
    """What stands for each image of a row: its bytes, or where they are. Raises ItemRejected: missing_column,
    wrong_type, missing_image, too_many_images."""
    columns = declaration.columns
    found: list[Any]
    if columns.image_path:
        found = [image_path(columns.image_path, lambda name: lookup(row, name, required=True))]
    elif columns.images:
        # A list of images; one alone; or, as tables of text have it, a list of paths spelled as JSON or Python.
        value = lookup(row, columns.images, required=True)
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            with contextlib.suppress(ItemRejected):
                value = literal(value)
        found = list(value) if isinstance(value, list | tuple) else [value]
    else:
        names = one_or_several(columns.image)
        found = [*(lookup(row, name, required=True) for name in names[:1]), *(lookup(row, name) for name in names[1:])]
        if len(found) == 1 and isinstance(found[0], list | tuple):
            found = list(found[0])
        if len(found) > 1:  # columns image_1 ... image_7 are null, or not in the row, from some number on
            found = [reference for reference in found if reference is not None] or [None]
    if declaration.text_only:
        found = [reference for reference in found if reference not in (None, "")]
    elif not found:
        raise ItemRejected("missing_image", "an empty list of images")
    if len(found) > MAX_IMAGES:
        raise ItemRejected("too_many_images", f"{len(found)}, at most {MAX_IMAGES}")
    return found


def place_marks(text: str, count: int) -> tuple[str, list[int]]:
    """The text with `<image>` for each mark, and the order in which it names the images.

    Where the marks do not match the images they are taken out, and the images go first, in their own order. Raises
    ItemRejected: image_marks.
    """
    numbers = [match.group(1) for match in MARK.finditer(text)]
    order = list(range(count))
    if numbers and all(numbers):
        named = [int(number) - 1 for number in numbers]
        matches, order = sorted(named) == order, named if sorted(named) == order else order
    else:
        matches = len(numbers) == count and not any(numbers)
    plain = without_marks(text)
    return (MARK.sub(IMAGE_MARK, text), order) if matches else (plain, list(range(count)))


def literal(text: str) -> Any:
    """The list or mapping that a text spells, in JSON or as Python prints it. Raises ItemRejected: bad_choices."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:  # MMMU writes Python lists; literal_eval builds literals only and runs nothing
        if len(text) > MAX_LITERAL:
            raise ValueError
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # TypeError: a list as a key
        raise ItemRejected("bad_choices", "text that is neither JSON nor a list") from None
