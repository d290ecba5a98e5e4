"""`mmpr sources check --page`: one HTML page with a source's questions, its golds, and what is wrong with them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.report.assets import asset, data_uri, environment, page_script
from mmpr_pipeline.sources.review.findings import Checked
from mmpr_pipeline.sources.rows.choices import LETTERS

SHOWN = 60
"""Most questions on the page: those with something wrong first, then evenly from the first row to the last."""

REJECTS = 200
"""Most rejected rows on the page."""


@dataclass(frozen=True)
class ShownQuestion:
    """A question as the page shows it; `images` are data URIs with width and height in pixels."""

    row: int
    question: Question
    images: list[tuple[str, int, int]]
    choices: list[tuple[str, str, bool]]
    wrong: list[tuple[str, str, str]]


def source_page(checked: Checked, path: str | Path) -> Path:
    """Write the page and return its file. Raises ConfigError where it cannot be there."""
    target = Path(path)
    try:
        target.write_text(render_source(checked), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot write {target}: {error.strerror}", remedy="Give another --page.") from None
    return target


def render_source(checked: Checked) -> str:
    """The page. All text of the source is escaped, and a content policy lets only the page's own script run."""
    from markupsafe import Markup

    from mmpr_pipeline import __version__

    script = page_script()
    shown = [_shown(checked, row, question) for row, question in _picked(checked)]
    rejects = checked.rejects[:REJECTS]
    return (
        environment()
        .get_template("source.html")
        .render(
            checked=checked,
            declaration=checked.source.declaration,
            shown=shown,
            rejects=rejects,
            linked={one.row for one in shown} | {row for row, _ in rejects},
            version=__version__,
            style=Markup(asset("theme.css", "markup.css", "report.css", "source.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _picked(checked: Checked) -> list[tuple[int, Question]]:
    """Those with something wrong first, then evenly."""
    bad = {row for finding in checked.findings for row, _ in finding.rows if len(finding.rows) < SHOWN}
    wrong = [(row, question) for row, question in checked.questions if row in bad][: SHOWN // 2]
    rest = [(row, question) for row, question in checked.questions if row not in bad]
    room = SHOWN - len(wrong)
    step = max(len(rest) / room, 1.0)
    return wrong + [rest[int(i * step)] for i in range(min(room, len(rest)))]


def _shown(checked: Checked, row: int, question: Question) -> ShownQuestion:
    golds = {question.answer} if question.choices else set()
    choices = [(LETTERS[i], choice, LETTERS[i] in golds) for i, choice in enumerate(question.choices)]
    wrong: list[tuple[str, str, str]] = [
        (finding.level, finding.name, seen)
        for finding in checked.findings
        for at, seen in finding.rows
        if at == row and len(finding.rows) < SHOWN
    ]
    images = [(data_uri(image.format, image.data), image.width, image.height) for image in question.images]
    return ShownQuestion(row, question, images, choices, wrong)
