from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.report.assets import href, rounded_duration, short
from mmpr_pipeline.report.pages.figures import report_figures
from mmpr_pipeline.report.pages.page import report
from mmpr_pipeline.screening.report import NOT_COMPARED

pytest.importorskip("vl_convert", reason="charts need vl-convert-python")
from tests.report.conftest import ATTACK


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_stands_alone_and_shows_pairs_with_their_images(out: Path, tmp_path: Path) -> None:
    path = report(out, tmp_path / "page.html", pairs=5)
    html = path.read_text()
    page = Tags(html)
    names = [tag for tag, _ in page.tags]
    assert names.count("article") == 5
    assert names.count("svg") >= 9
    sources = [a[key] or "" for _, a in page.tags for key in ("src", "href", "xlink:href") if key in a]
    assert all(source.startswith(("data:image/", "#")) for source in sources), "nothing is fetched"
    assert any(source.startswith("data:image/png;base64,") for source in sources)
    assert "How tall is bar" in "".join(page.words)
    assert NOT_COMPARED in page.words
    assert "Tokens a pair" in page.words
    assert path.stat().st_size < 1_000_000
    assert report(out, tmp_path / "again.html", pairs=5).read_text() == html, "the same pairs for the same seed"
    assert report(out, tmp_path / "other.html", pairs=5, seed=1).read_text() != html
    assert verify(out).ok


def test_a_report_holds_what_another_output_did_otherwise(two: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = two
    html = report(other, tmp_path / "page.html", against=one, price=1e6).read_text()
    assert '<h2 id="against">Against one' in html
    rows = {
        row[0]: row[1:] for row in (re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in html.splitlines()) if row
    }
    assert rows["Pairs"] == ["6", "5", "-17%"]
    assert rows["With pairs"] == ["100%", "100%", "+0.0 points"]
    assert rows["Cost"][:2] == [f"{float(tokens.replace(',', '')):.2f}" for tokens in rows["Tokens generated"][:2]]
    assert "No longer solved" in html
    assert "Newly solved" in html
    figures = report_figures(other, against=one)["against"]
    assert figures["found"]["pairs"] == {"both": 3, "gained": 2, "lost": 3}
    assert 'id="against"' not in report(other, tmp_path / "alone.html").read_text()


def test_hostile_text_stays_text(hostile: Path, tmp_path: Path) -> None:
    html = report(hostile, tmp_path / "page.html", against=hostile).read_text()
    page = Tags(html)
    assert [tag for tag, _ in page.tags].count("script") == 1, "the page's own"
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert ATTACK in "".join(page.words)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_charts_follow_the_theme(out: Path, tmp_path: Path) -> None:
    html = report(out, tmp_path / "page.html").read_text()
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, re.S))
    assert 'fill="var(--good)"' in drawn
    assert not re.findall(r'(?:fill|stroke)="(?:#000|black)"', drawn), "invisible on a dark page"


def test_a_report_is_refused_where_it_cannot_be(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="within the dataset"):
        report(out, out / "page.html")
    with pytest.raises(ConfigError, match="Cannot write"):
        report(out, tmp_path / "nowhere" / "page.html")
    with pytest.raises(DatasetError):
        report(tmp_path / "empty", tmp_path / "page.html")


def test_numbers_are_said_shortly() -> None:
    assert [short(n) for n in (950, 12_345, 4_500_000, 2_000_000_000)] == ["950", "12.3k", "4.5M", "2G"]
    assert [rounded_duration(n) for n in (34, 700, 9000)] == ["34 s", "12 min", "2.5 h"]
    assert [href(a) for a in ("https://x.org/a", "javascript:alert(1)", None)] == ["https://x.org/a", "", ""]
