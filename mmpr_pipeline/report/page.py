"""`mmpr report OUT`: one HTML page that tells what a dataset holds, readable anywhere, without a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.report.charts import charts_of
from mmpr_pipeline.report.figures import report_figures
from mmpr_pipeline.report.gallery import gallery
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.storage.local import LocalStore

if TYPE_CHECKING:
    from jinja2 import Environment

PAIRS = 12
"""Pairs in the gallery."""
ROOM = Path(__file__).parent


def report(
    out: str | Path,
    path: str | Path | None = None,
    *,
    pairs: int = PAIRS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report on the finished dataset at `out` and return its file.

    `path` is by default the output's name with `-report.html`, in the current directory. `pairs` are drawn by `seed`.
    Raises DatasetError where the dataset is not finished, ConfigError where the file cannot be there.
    """
    target = Path(path) if path is not None else Path(f"{_name(out)}-report.html")
    store = open_store(out)
    if isinstance(store, LocalStore) and target.absolute().is_relative_to(store.root):
        raise ConfigError(f"{target} lies within the dataset.", remedy="Give --path outside of it.")
    html = render(_name(out), report_figures(out, progress), gallery(out, pairs, seed), seed)
    try:
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot write {target}: {error.strerror}", remedy="Give another --path.") from None
    return target


def render(name: str, figures: dict[str, Any], shown: list[Any], seed: int) -> str:
    """The page. All text of the dataset is escaped, and a content policy lets only the page's own script run."""
    from markupsafe import Markup

    script = (ROOM / "static" / "theme.js").read_text(encoding="utf-8")
    script += (ROOM / "static" / "report.js").read_text(encoding="utf-8")
    styles = [(ROOM / "static" / name).read_text(encoding="utf-8") for name in ("theme.css", "report.css")]
    return (
        environment()
        .get_template("report.html")
        .render(
            name=name,
            f=figures,
            charts={key: Markup(svg) for key, svg in charts_of(figures).items()},
            shown=shown,
            seed=seed,
            style=Markup("\n".join(styles)),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def environment() -> Environment:
    """Where the templates are: everything that is put into them is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    jinja = Environment(
        loader=PackageLoader("mmpr_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"count": "{:,}".format, "duration": duration, "short": short, "words": words, "href": href}
    return jinja


def duration(seconds: float) -> str:
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


def words(name: str) -> str:
    """A fixed name as words: no_correct -> no correct."""
    return name.replace("_", " ")


def href(address: str | None) -> str:
    """An address that may be a link: of the web; else empty, so that a declaration cannot smuggle in a script."""
    return address if address and urlsplit(address).scheme in ("http", "https") else ""


def _name(out: str | Path) -> str:
    return Path(str(out).rstrip("/")).resolve().name if "://" not in str(out) else str(out).rstrip("/").split("/")[-1]
