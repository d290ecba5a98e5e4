"""`mmpr diff A B`: what changed between two outputs, for the terminal and as one page."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mmpr_pipeline import __version__
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.report.assets import asset, environment, page_script
from mmpr_pipeline.report.compare import Flip, OutputsCompared
from mmpr_pipeline.report.differences import TextSpan, compare_texts

if TYPE_CHECKING:
    from rich.console import RenderableType


def diff_page(found: OutputsCompared, path: str | Path) -> Path:
    """Write the page of `compare_outputs`' result and return its file. Raises ConfigError where it cannot be there."""
    from markupsafe import Markup

    script = page_script()
    html = (
        environment()
        .get_template("diff.html")
        .render(
            d=found,
            flips=flip_examples(found),
            version=__version__,
            style=Markup(asset("theme.css", "markup.css", "report.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    try:
        Path(path).write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}", remedy="Give another --page.") from None
    return Path(path)


def flip_examples(
    found: OutputsCompared, most: int | None = None
) -> dict[str, list[tuple[Flip, list[TextSpan], list[TextSpan]]]]:
    """Of each kind of flip at most `most` questions, each with the pieces of both responses."""
    return {
        kind: [(one, *compare_texts(*one["texts"])) for one in group["examples"][:most]]
        for kind, group in found["flipped"].items()
    }


def diff_terminal(found: OutputsCompared) -> RenderableType:
    """The same in short, for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    one, other = found["names"]
    sources = Table("source", "questions", f"right in {one}", f"right in {other}", "difference", box=None)
    for row in found["sources"]:
        before, after = row["right"]
        points = "" if before is None or after is None else f"{100 * (after - before):+.1f}"
        sources.add_row(row["source"], f"{row['questions']:,}", percent_text(before), percent_text(after), points)
    pairs, flipped = found["pairs"], found["flipped"]
    alone = found["only"]
    lines = [
        f"{found['questions']:,} questions in both, {alone[0]:,} only in {one}, {alone[1]:,} only in {other}",
        f"solved only in {other}: {flipped['gained']['questions']:,}, only in {one}: {flipped['lost']['questions']:,}",
        f"pairs in both {pairs['both']:,}, gained {pairs['gained']:,}, lost {pairs['lost']:,}",
        f"{found['verdicts']['compared']:,} rollouts with the same text, "
        f"{sum(row['rollouts'] for row in found['verdicts']['changed']):,} verdicts changed",
    ]
    changed = Table("verdict", "now", "by rule", "rollouts", box=None)
    for change in found["verdicts"]["changed"][:20]:
        changed.add_row(change["from"], change["to"], change["rule"], f"{change['rollouts']:,}")
    return Group(Text("\n".join(lines)), sources, *([changed] if changed.rows else []))


def percent_text(share: float | None) -> str:
    """A share as people read it; a dash where nothing was checked."""
    return "–" if share is None else f"{share:.1%}"
