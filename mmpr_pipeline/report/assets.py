"""What pages are made of: scripts, styles and templates, into which everything is put escaped; images, made light; and
the tiles that a model of InternVL's kind cuts an image into, to be drawn over it.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mmpr_pipeline.dataset.review.marks_summary import precision_text

if TYPE_CHECKING:
    from jinja2 import Environment


STATIC = Path(__file__).parent / "static"


def asset(*names: str) -> str:
    """The text of static files, joined."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in names)


def page_script() -> str:
    """The script of a page that is one file: mathematics and Markdown drawn, what is long unfolded, images large."""
    markup = re.sub(r"^export ", "", asset("markup.js"), flags=re.MULTILINE)
    return "\n".join((asset("theme.js", "vendor/temml.min.js"), f"(() => {{\n{markup}\n{asset('report.js')}\n}})();"))


def environment() -> Environment:
    """The templates. An unknown name in one of them is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    jinja = Environment(
        loader=PackageLoader("mmpr_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "count": "{:,}".format,
        "duration": rounded_duration,
        "short": short,
        "words": as_words,
        "href": href,
    }
    jinja.globals["precision_text"] = precision_text
    return jinja


def rounded_duration(seconds: float) -> str:
    """Seconds as people say them: 34 s, 12 min, 3.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(number: float) -> str:
    """A number in few signs: 950, 12.3k, 4.5M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if sign == 'k' else size):.3g}{sign}"
    return f"{number:,.0f}"


def as_words(name: str) -> str:
    """A fixed name as words: no_correct -> no correct."""
    return name.replace("_", " ")


def href(address: str | None) -> str:
    """An address that may be a link: of the web; else empty, so that a declaration cannot smuggle in a script."""
    return address if address and urlsplit(address).scheme in ("http", "https") else ""


IMAGE_SIDE = 640
"""Longer images are made smaller for a page that carries them, in pixels: it stays light."""
IMAGE_BYTES = 60_000
"""Images above this are encoded anew, as WebP."""
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
"""Formats that a dataset may hold (never SVG, which can carry scripts), and how they are announced."""


def light(kind: str, data: bytes, side: int = IMAGE_SIDE, most: int = IMAGE_BYTES) -> tuple[str, bytes]:
    """Format and bytes of an encoded image of a format of MEDIA_TYPES, made smaller where it is heavier than `most`."""
    if len(data) <= most:
        return kind, data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        image.convert("RGBA" if "A" in image.getbands() else "RGB").save(buffer, "WEBP", quality=80)
    return "webp", buffer.getvalue()


def data_uri(kind: str, data: bytes) -> str:
    """A light image as an address that carries it. Raises KeyError for a format that is not shown."""
    kind, data = light(kind, data)
    return f"data:{MEDIA_TYPES[kind]};base64,{base64.b64encode(data).decode()}"


TILE = 448
"""Side of a tile, in pixels."""


def tile_grid(width: int, height: int, most: int) -> tuple[int, int]:
    """Tiles across and down of an image, at most `most` in all.

    InternVL's rule (`dynamic_preprocess`): of all grids the one whose aspect is nearest to the image's; among equally
    near ones the larger, if the image has more than half of its pixels. The image is resized to the grid, so that the
    tiles lie evenly over it.
    """
    aspect = width / height
    grids = sorted(
        {(i, j) for n in range(1, max(1, most) + 1) for i in range(1, n + 1) for j in range(1, n + 1) if i * j <= most},
        key=lambda grid: (grid[0] * grid[1], grid),
    )
    best, least = (1, 1), float("inf")
    for grid in grids:
        apart = abs(aspect - grid[0] / grid[1])
        larger = width * height > 0.5 * TILE * TILE * grid[0] * grid[1]
        if apart < least or (apart == least and larger):
            best, least = grid, apart
    return best
