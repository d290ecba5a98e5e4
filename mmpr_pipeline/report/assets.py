"""Scripts, styles and templates of the pages, and where they come from: everything put into a template is escaped."""

from __future__ import annotations

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
